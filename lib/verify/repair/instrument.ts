import type { Interval, Series } from '../../market/mod.ts';
import { type CheckOptions, checkInstrument, type Finding, type InstrumentReport } from '../mod.ts';
import { type RepairCounts, type RepairTools, SeriesRepair } from './series.ts';

export interface InstrumentRepair {
  /** What is left after it. */
  report: InstrumentReport;
  done: { series: Series; counts: RepairCounts }[];
}

/**
 * Mends what is wrong with an instrument as far as the exchange can serve it, and checks it again
 * until nothing more can be done. Never invents a candle, never drops one for nothing.
 * @param tools its session holds the instrument's lock
 * @param differing findings of --compare, which a check alone does not make
 */
export async function repairInstrument(
  tools: RepairTools,
  instrument: Series['instrument'],
  options: CheckOptions,
  differing: readonly Finding[] = [],
): Promise<InstrumentRepair> {
  const repairs = new Map<Interval, SeriesRepair>();
  const repairOf = (interval: Interval) => {
    const found = repairs.get(interval) ?? new SeriesRepair(tools, { instrument, interval });
    repairs.set(interval, found);
    return found;
  };
  const [clock] = await tools.session`select now() as now`;
  let extra = differing;
  for (;;) {
    tools.signal.throwIfAborted();
    const report = await checkInstrument(tools.session, instrument, options);
    let isChanged = false;
    for (const each of report.series) {
      const repair = repairOf(each.series.interval);
      const more = extra.filter((finding) => finding.interval === each.series.interval);
      isChanged = (await repair.round(each, more, repairOf)) || isChanged;
    }
    for (const repair of repairs.values()) isChanged = (await repair.ask()) || isChanged;
    for (const repair of repairs.values()) await repair.settle(clock?.now);
    extra = extra.flatMap((finding) => repairOf(finding.interval as Interval).leftOf(finding));
    if (isChanged) continue;
    for (const each of report.series) {
      each.findings.push(...extra.filter((finding) => finding.interval === each.series.interval));
    }
    const done = [...repairs.values()].map(({ series, counts }) => ({ series, counts }));
    return { report, done: done.filter(({ counts }) => Object.values(counts).some((n) => n > 0)) };
  }
}
