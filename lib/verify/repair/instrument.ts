import type { BulkDownload } from '../../download/mod.ts';
import type { Instrument, Series } from '../../market/mod.ts';
import { type CheckOptions, checkInstrument, type Finding, type InstrumentReport } from '../mod.ts';
import { hasSent, planRepair, type RepairCounts, type Round } from './plan.ts';
import { repairSeries } from './series.ts';

/** Without the series: the same tools repair all series of an instrument. */
export type RepairTools = Omit<BulkDownload, 'series'>;

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
 */
export async function repairInstrument(
  tools: RepairTools,
  instrument: Instrument,
  options: CheckOptions,
  differing: readonly Finding[] = [],
): Promise<InstrumentRepair> {
  const { session, signal } = tools;
  const [clock] = await session`select now() as now`;
  const rounds: Round[] = [];
  for (;;) {
    signal.throwIfAborted();
    const report = await checkInstrument(session, instrument, options);
    const left = differing.flatMap((finding) => withoutSent(finding, rounds));
    const round: Round[] = [];
    for (const plan of await planRepair(session, report.series, left, rounds)) {
      const { series } = plan;
      round.push(await repairSeries({ ...tools, series }, plan, clock?.now));
    }
    const isDone = !round.some((each) => isProgress(each, rounds));
    rounds.push(...round);
    if (!isDone) continue;
    for (const { series, findings } of report.series)
      findings.push(...left.filter((finding) => finding.interval === series.interval));
    const done = report.series.map(({ series }) => ({ series, counts: sumRounds(rounds, series) }));
    return { report, done: done.filter(({ counts }) => hasAny(counts)) };
  }
}

/** A finding without the candles that REST has sent; none if none are left. */
function withoutSent(finding: Finding, rounds: readonly Round[]): Finding[] {
  const rows = finding.rows.filter((row) => !hasSent(rounds, finding.interval, row.fromMs));
  const count = finding.count - (finding.rows.length - rows.length);
  return count === 0 ? [] : [{ ...finding, count, rows }];
}

/** Whether a round has changed or learnt anything: then another one may do more. */
function isProgress({ plan, counts, sent }: Round, earlier: readonly Round[]): boolean {
  return (
    hasAny(counts) ||
    plan.files.length > 0 ||
    [...sent].some((slotMs) => !hasSent(earlier, plan.series.interval, slotMs))
  );
}

function hasAny(counts: RepairCounts): boolean {
  return Object.values(counts).some((count) => count > 0);
}

function sumRounds(rounds: readonly Round[], { interval }: Series): RepairCounts {
  return rounds
    .filter((round) => round.plan.series.interval === interval)
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
