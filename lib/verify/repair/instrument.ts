import type { BulkFile } from '../../binance/mod.ts';
import type { BulkDownload } from '../../download/mod.ts';
import type { Instrument, Interval, Series } from '../../market/mod.ts';
import {
  type CheckOptions,
  checkInstrument,
  type Finding,
  type InstrumentReport,
  joinFileFindings,
  type SeriesReport,
} from '../mod.ts';
import { repairFiles } from './files.ts';
import { hasSent, planRepair, type RepairCounts, type Round, type SeriesPlan } from './plan.ts';
import { repairSeries } from './series.ts';

/** Without the series: the same tools repair all series of an instrument. */
export type RepairTools = Omit<BulkDownload, 'series'>;

/** What --files found in a series. */
export interface DifferingFiles {
  report: SeriesReport;
  /** The files that differ from what is stored. */
  files: readonly BulkFile[];
  /** Findings about other files. */
  settled: readonly Finding[];
}

export interface InstrumentRepair {
  /** What is still wrong. */
  report: InstrumentReport;
  /** What was done, for each series to which anything was done. */
  done: { series: Series; counts: RepairCounts }[];
}

/**
 * Repairs an instrument as far as the exchange can serve it: checks it, plans and carries out a
 * round, and checks it again, until a round changes nothing. Never makes up a candle, and deletes
 * one only for another.
 * @param tools its session holds the instrument's lock
 * @param differing findings of --compare, which a check alone does not make
 * @param differingFiles findings of --files, settled before everything else
 */
export async function repairInstrument(
  tools: RepairTools,
  instrument: Instrument,
  options: CheckOptions,
  differing: readonly Finding[] = [],
  differingFiles: readonly DifferingFiles[] = [],
): Promise<InstrumentRepair> {
  const { session, signal } = tools;
  const [clock] = await session`select now() as now`;
  const settled = new Map<Interval, Awaited<ReturnType<typeof repairFiles>>>();
  for (const { report, files, settled: others } of differingFiles) {
    const { series } = report;
    const result = await repairFiles({ ...tools, series }, report, files, clock?.now);
    const findings = joinFileFindings([...others, ...result.findings]);
    settled.set(series.interval, { ...result, findings });
  }
  const rounds: Round[] = [];
  for (;;) {
    signal.throwIfAborted();
    let report = await checkInstrument(session, instrument, options);
    const latest: Round[] = [];
    for (const plan of await planRepair(session, report.series, differing, rounds))
      latest.push(await repairSeries({ ...tools, series: plan.series }, plan, clock?.now));
    rounds.push(...latest);
    if (latest.some(isProgress)) continue;
    if (latest.some(({ leavesOpenGaps }) => leavesOpenGaps))
      report = await checkInstrument(session, instrument, options);
    for (const [index, { series, findings }] of report.series.entries()) {
      findings.push(...stillDiffering(differing, latest[index]!.plan));
      findings.push(...(settled.get(series.interval)?.findings ?? []));
    }
    const done = latest.map((round) => {
      const { series, earlier } = round.plan;
      const ofFiles = settled.get(series.interval);
      return { series, counts: sumCounts([round, ...earlier, ...(ofFiles ? [ofFiles] : [])]) };
    });
    return { report, done: done.filter(({ counts }) => hasAny(counts)) };
  }
}

/** Whether a round has changed or learnt anything: then another one may do more. */
function isProgress({ plan, counts, sent }: Round): boolean {
  return (
    hasAny(counts) || plan.files.length > 0 || [...sent].some((slotMs) => !hasSent(plan, slotMs))
  );
}

/** The findings of --compare about a series, without the candles that REST has sent since. */
function stillDiffering(differing: readonly Finding[], plan: SeriesPlan): Finding[] {
  return differing
    .filter((finding) => finding.interval === plan.series.interval)
    .map((finding) => {
      const rows = finding.rows.filter((row) => !hasSent(plan, row.fromMs));
      return { ...finding, rows, count: finding.count - (finding.rows.length - rows.length) };
    })
    .filter((finding) => finding.count > 0);
}

function hasAny(counts: RepairCounts): boolean {
  return Object.values(counts).some((count) => count > 0);
}

function sumCounts(rounds: readonly { counts: RepairCounts }[]): RepairCounts {
  return rounds
    .map((round) => round.counts)
    .reduce((a, b) => ({
      filled: a.filled + b.filled,
      replaced: a.replaced + b.replaced,
      removed: a.removed + b.removed,
      copiesDeleted: a.copiesDeleted + b.copiesDeleted,
      confirmed: a.confirmed + b.confirmed,
      asPublished: a.asPublished + b.asPublished,
      checkpoints: a.checkpoints + b.checkpoints,
    }));
}
