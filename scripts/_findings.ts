import { formatCount, formatShort, formatTable, formatTime, truncate } from '../lib/base/mod.ts';
import type { Series } from '../lib/market/mod.ts';
import {
  byWorst,
  type Finding,
  type FindingRow,
  type InstrumentReport,
  isAtLeast,
} from '../lib/verify/mod.ts';
import type { RepairCounts } from '../lib/verify/repair/mod.ts';
import type { Rechecked } from './_recheck.ts';
import { formatCounts } from './_text.ts';

/** Tables printed at most: the summary of a broken store must still fit on two screens. */
const MAX_TABLES = 50;
const WIDTH = 80;
const EXAMPLES = 5;

/** A finding for --json, with times as text and the first rows as sentences. */
export function toJsonFinding({ rows, ...finding }: Finding) {
  return {
    ...finding,
    examples: rows.slice(0, EXAMPLES).map(formatRow),
    rows: rows.map(({ fromMs, toMs, detail }) => ({
      from: formatTime(fromMs),
      ...(toMs === undefined ? {} : { to: formatTime(toMs) }),
      detail,
    })),
  };
}

/** What a repair did to one series, on one line. */
export function formatRepair({ series, counts }: { series: Series; counts: RepairCounts }): string {
  const parts = formatCounts([
    [counts.filled, 'filled'],
    [counts.replaced, 'replaced'],
    [counts.removed, 'extra removed'],
    [counts.copiesDeleted, 'identical duplicates removed'],
    [counts.confirmed, 'not at the exchange'],
    [counts.asPublished, 'odd as published'],
    [counts.checkpoints, 'archive spans verified'],
  ]);
  return `${series.instrument.symbol} ${series.interval}: ${parts.join(', ')}`;
}

/** What requesting confirmed gaps again has led to, on one line. */
export function formatRechecked({ shown, forgotten, unclear, filled }: Rechecked): string {
  const parts = formatCounts([
    [shown, 'not at the exchange'],
    [forgotten, 'no gaps after all'],
    [filled, 'candles filled'],
    [unclear, 'without a clear answer'],
  ]);
  return `Gaps requested again: ${parts.length > 0 ? parts.join(', ') : 'none'}`;
}

/**
 * A table per series, worst first, and a summary on the last line.
 * @param withInfo also series with nothing but findings of severity info
 */
export function formatReports(
  reports: readonly InstrumentReport[],
  { withInfo }: { withInfo: boolean },
): string {
  const groups = reports
    .flatMap(({ instrument: { symbol }, findings, series }) => [
      { title: `${symbol}  tables`, findings },
      ...series.map((each) => ({
        title: `${symbol} ${each.series.interval}  ${formatCount(each.candles)} candles`,
        findings: each.findings,
      })),
    ])
    .map((group) => ({ ...group, findings: [...group.findings].sort(byWorst) }))
    .filter(({ findings: [worst] }) => worst && (withInfo || isAtLeast(worst, 'warning')))
    .sort((a, b) => byWorst(a.findings[0]!, b.findings[0]!));
  const tables = groups
    .slice(0, MAX_TABLES)
    .map(({ title, findings }) => `${title}\n${formatFindings(findings)}\n`);
  const more = groups.length - MAX_TABLES;
  if (more > 0) tables.push(`… and ${formatCount(more)} more; --json prints all of them\n`);
  return [...tables, formatSummary(reports)].join('\n');
}

function formatFindings(findings: readonly Finding[]): string {
  const rows = findings.map((finding) => [
    `  ${finding.severity}`,
    finding.isPublished ? `${finding.check}, as published` : finding.check,
    finding.count,
    formatFirst(finding),
  ]);
  const lines = formatTable(['  severity', 'check', 'count', 'first'], rows).split('\n');
  return lines.map((line) => truncate(line, WIDTH)).join('\n');
}

function formatFirst({ check, rows }: Finding): string {
  const [first] = rows;
  if (!first) return '';
  const isAboutTable = check === 'archive-shape' || check === 'not-attached';
  const text = isAboutTable ? first.detail : formatRow(first);
  return rows.length > 1 ? `${text}, …` : text;
}

/** `2024-02-20 03:00 to 05:00 (2)`: when, and what is wrong. */
function formatRow({ fromMs, toMs, detail }: FindingRow): string {
  const from = fromMs % 60_000 === 0 ? formatShort(fromMs) : formatTime(fromMs);
  if (toMs === undefined) return `${from} ${detail}`;
  const to = formatShort(toMs);
  const isSameDay = to.slice(0, 10) === from.slice(0, 10) && to.length > 10;
  return `${from} to ${isSameDay ? to.slice(11) : to} ${detail}`;
}

function formatSummary(reports: readonly InstrumentReport[]): string {
  const series = reports.flatMap((report) => report.series);
  const candles = series.reduce((sum, each) => sum + each.candles, 0);
  const findings = [...reports, ...series].flatMap((each) => each.findings);
  const sumWhere = (isWanted: (finding: Finding) => boolean) =>
    findings.filter(isWanted).reduce((sum, finding) => sum + finding.count, 0);
  const problems = (['error', 'warning'] as const).map((severity): [number, string] => {
    const { length } = findings.filter((finding) => finding.severity === severity);
    return [length, length === 1 ? severity : `${severity}s`];
  });
  const hasProblems = problems.some(([count]) => count > 0);
  const parts = formatCounts([
    ...problems,
    [sumWhere(({ check }) => check === 'confirmed-gap'), 'not at the exchange'],
    [sumWhere(({ check }) => check === 'open-gap'), 'in open gaps'],
    [sumWhere(({ check }) => check === 'flat'), 'without a trade'],
    [sumWhere(({ check }) => check === 'jump'), 'far from their neighbours'],
    [sumWhere(({ isPublished }) => isPublished), 'odd as published'],
  ]);
  const verdict = hasProblems ? [] : ['complete, no duplicates, no impossible values'];
  const checked = `${formatCount(series.length)} series, ${formatCount(candles)} candles`;
  return `${checked}: ${[...verdict, ...parts].join('; ')}`;
}
