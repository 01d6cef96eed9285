import type postgres from 'postgres';
import { DAY_MS, retry } from '../base/mod.ts';
import {
  clipRanges,
  INTERVALS,
  type Instrument,
  type Interval,
  type Series,
  type TimeRange,
} from '../market/mod.ts';
import { SQLSTATE, type Sql, sqlState } from '../postgres/mod.ts';
import { instrumentHolder, type StoredSeries, storedSeries } from '../store/mod.ts';
import { checkBatches } from './batches.ts';
import { checkCoverage } from './coverage.ts';
import { countDays, type DayCounts, rowsOf } from './days.ts';
import type { InstrumentReport, SeriesReport } from './findings.ts';
import { checkRollup } from './rollup.ts';
import { checkDays } from './rows.ts';
import { checkArchiveShape, checkAttached, checkIntervals, checkTierBoundary } from './tables.ts';

export interface CheckOptions {
  /** None: all. */
  interval?: Interval | undefined;
  /** Open times that are looked at. Default: all. */
  fromMs?: number | undefined;
  toMs?: number | undefined;
  /** Hold the archive against what archive_batches says was moved there. */
  isDeep?: boolean;
}

/**
 * Checks all series of an instrument on one snapshot: what other runs have not committed, or
 * commit meanwhile, is not seen.
 * @param sql a pool or a session without an open transaction
 */
export async function checkInstrument(
  sql: postgres.Sql,
  instrument: Instrument,
  options: CheckOptions = {},
): Promise<InstrumentReport> {
  // A standby cancels a check that needs rows which the primary has removed meanwhile.
  return await retry(() => checkOnce(sql, instrument, options), {
    isTransient: (error) => sqlState(error) === SQLSTATE.serializationFailure,
  });
}

async function checkOnce(
  sql: postgres.Sql,
  instrument: Instrument,
  options: CheckOptions,
): Promise<InstrumentReport> {
  const busyBefore = await instrumentHolder(sql, instrument.id);
  const report = await sql.begin('isolation level repeatable read read only', async (tx) => {
    const { nowMs, delistedAtMs } = await readFacts(tx, instrument);
    const bounds = { fromMs: options.fromMs ?? 0, toMs: options.toMs ?? nowMs + 1000 * DAY_MS };
    const facts = { nowMs, delistedAtMs, bounds, isDeep: options.isDeep ?? false };
    const busyWith = busyBefore ?? (await instrumentHolder(tx, instrument.id));
    const series: SeriesReport[] = [];
    for (const each of await knownSeries(tx, instrument, options.interval)) {
      series.push(
        await checkSeries(tx, { instrument, interval: each.interval }, each.stored, {
          ...facts,
          busyWith,
        }),
      );
    }
    for (const longer of series) {
      longer.findings.push(...(await checkRollup(tx, longer, series[0], bounds)));
    }
    const findings = [
      ...(await checkAttached(tx, instrument)),
      ...(await checkArchiveShape(tx, instrument)),
      ...(await checkIntervals(tx, instrument)),
    ];
    return { instrument, series, findings };
  });
  return report as InstrumentReport;
}

interface SeriesFacts {
  nowMs: number;
  delistedAtMs: number | undefined;
  bounds: TimeRange;
  isDeep: boolean;
  busyWith: string | undefined;
}

async function checkSeries(
  sql: Sql,
  series: Series,
  stored: StoredSeries | undefined,
  facts: SeriesFacts,
): Promise<SeriesReport> {
  const all = stored && { fromMs: stored.firstMs, toMs: stored.lastMs + 1 };
  const [range] = clipRanges(all ? [all] : [], facts.bounds);
  const days = range ? await countDays(sql, series, range) : new Map<number, DayCounts>();
  const coverage = await checkCoverage(sql, series, stored, { ...facts, days });
  const findings = [
    ...coverage.findings,
    ...(await checkDays(sql, series, days, facts.bounds, facts.nowMs)),
    ...(await checkTierBoundary(sql, series, facts.bounds)),
    ...(facts.isDeep ? await checkBatches(sql, series, facts.bounds) : []),
  ];
  const candles = [...days.values()].reduce((sum, day: DayCounts) => sum + rowsOf(day), 0);
  return { series, candles, stored, findings, missing: coverage.missing };
}

async function readFacts(sql: Sql, instrument: Instrument) {
  const [row] = await sql`
    select now() as now, delisted_at from instruments where id = ${instrument.id}`;
  return {
    nowMs: row?.now.getTime() as number,
    delistedAtMs: row?.delisted_at?.getTime() as number | undefined,
  };
}

/** The series that hold a candle, or of which bulk files or batches say that they did once. */
async function knownSeries(sql: Sql, instrument: Instrument, interval: Interval | undefined) {
  const stored = await storedSeries(sql, instrument, interval && [interval]);
  const noted = await sql`
    select interval from loaded_files where instrument_id = ${instrument.id} and rows > 0
    union
    select interval from archive_batches where instrument_id = ${instrument.id} and moved_rows > 0`;
  const names = new Set([...stored, ...noted].map((each) => each.interval));
  return INTERVALS.filter((each) => names.has(each) && (!interval || each === interval)).map(
    (each) => ({ interval: each, stored: stored.find((one) => one.interval === each) }),
  );
}
