import { formatCount, formatTable, formatTime } from '../lib/base/mod.ts';
import type { Series } from '../lib/market/mod.ts';
import {
  byWorst,
  describeRow,
  type Finding,
  type InstrumentReport,
  isAtLeast,
  SEVERITIES,
} from '../lib/verify/mod.ts';
import type { RepairCounts } from '../lib/verify/repair/mod.ts';

/** Series whose findings are shown; a run over a broken store must still end on one screen or two. */
const MAX_SHOWN = 50;
const WIDTH = 80;
const EXAMPLES = 5;

/** A finding as JSON has it: times as text. */
export function showFinding(finding: Finding) {
  const { rows, ...rest } = finding;
  return {
    ...rest,
    examples: rows.slice(0, EXAMPLES).map(describeRow),
    rows: rows.map(({ fromMs, toMs, detail }) => ({
      from: formatTime(fromMs),
      ...(toMs === undefined ? {} : { to: formatTime(toMs) }),
      detail,
    })),
  };
}

/** What a repair did to one series, on one line. */
export function showRepair({ series, counts }: { series: Series; counts: RepairCounts }): string {
  const parts = [
    [counts.filled, 'filled'],
    [counts.replaced, 'replaced'],
    [counts.removed, 'that did not belong there removed'],
    [counts.copiesDeleted, 'copies deleted'],
    [counts.confirmed, 'not at the exchange'],
    [counts.asPublished, 'odd as published'],
    [counts.sealed, 'archive batches compared and sealed'],
  ] as const;
  const done = parts
    .filter(([count]) => count > 0)
    .map(([count, what]) => `${formatCount(count)} ${what}`);
  return `${series.instrument.symbol} ${series.interval}: ${done.join(', ')}`;
}

/** A table a series, worst first, and a last line that says how it stands. */
export function showReports(
  reports: readonly InstrumentReport[],
  { withInfo }: { withInfo: boolean },
): string {
  const groups = reports
    .flatMap(({ instrument, findings, series }) => [
      { title: `${instrument.symbol}  tables`, findings },
      ...series.map((each) => ({ title: titleOf(each), findings: each.findings })),
    ])
    .map((group) => ({ ...group, findings: [...group.findings].sort(byWorst) }))
    .filter(({ findings: [worst] }) => worst && (withInfo || isAtLeast(worst, 'warning')))
    .sort((a, b) => byWorst(a.findings[0]!, b.findings[0]!));
  const tables = groups
    .slice(0, MAX_SHOWN)
    .map(({ title, findings }) => `${title}\n${showFindings(findings)}\n`);
  const more = groups.length - MAX_SHOWN;
  if (more > 0) tables.push(`… and ${formatCount(more)} more; --json has them all\n`);
  return [...tables, summarize(reports)].join('\n');
}

function titleOf({ series, candles }: InstrumentReport['series'][number]): string {
  return `${series.instrument.symbol} ${series.interval}  ${formatCount(candles)} candles`;
}

function showFindings(findings: readonly Finding[]): string {
  const rows = findings.map((finding) => [
    `  ${finding.severity}`,
    finding.isPublished ? `${finding.check}, as published` : finding.check,
    finding.count,
    showExamples(finding),
  ]);
  const lines = formatTable(['  severity', 'check', 'count', 'first'], rows).split('\n');
  return lines
    .map((line) => (line.length > WIDTH ? `${line.slice(0, WIDTH - 1)}…` : line))
    .join('\n');
}

function showExamples({ check, rows }: Finding): string {
  const [first] = rows;
  if (!first) return '';
  // A table has no open time.
  const isOfTable = check === 'archive-shape' || check === 'not-attached';
  const text = isOfTable ? first.detail : describeRow(first);
  return rows.length > 1 ? `${text}, …` : text;
}

function summarize(reports: readonly InstrumentReport[]): string {
  const series = reports.flatMap((report) => report.series);
  const candles = series.reduce((sum, each) => sum + each.candles, 0);
  const findings = [...reports, ...series].flatMap((each) => each.findings);
  const checked = `${formatCount(series.length)} series, ${formatCount(candles)} candles`;
  const said = SEVERITIES.flatMap((severity) => {
    const same = findings.filter((finding) => finding.severity === severity);
    if (severity === 'info') return sayInfo(same);
    const kinds = same.length === 1 ? severity : `${severity}s`;
    return same.length === 0 ? [] : [`${formatCount(same.length)} ${kinds}`];
  });
  const isSound = !findings.some((finding) => isAtLeast(finding, 'warning'));
  return `${checked}: ${[...(isSound ? ['every one there, once, and possible'] : []), ...said].join('; ')}`;
}

const INFO = [
  ['confirmed-gap', 'not at the exchange'],
  ['flat', 'without a trade'],
  ['jump', 'far from their neighbours'],
] as const;

function sayInfo(findings: readonly Finding[]): string[] {
  const count = (same: readonly Finding[]) => same.reduce((sum, each) => sum + each.count, 0);
  const said = INFO.map(
    ([check, text]) => [count(findings.filter((each) => each.check === check)), text] as const,
  );
  const published = count(findings.filter((each) => each.isPublished));
  return [...said, [published, 'odd as published'] as const]
    .filter(([number]) => number > 0)
    .map(([number, text]) => `${formatCount(number)} ${text}`);
}
