import type postgres from 'postgres';
import { DAY_MS, retry } from '../base/mod.ts';
import {
  clipRanges,
  INTERVALS,
  type Instrument,
  type Interval,
  rangeValues,
  type Series,
} from '../market/mod.ts';
import { SQLSTATE, type Sql, sqlState } from '../postgres/mod.ts';
import { instrumentHolder, type StoredSeries, storedSeries } from '../store/mod.ts';
import { checkBatches } from './batches.ts';
import { checkCoverage } from './coverage.ts';
import { countDays } from './days.ts';
import { dependsOnClock, type ExchangeClock } from './exchange-clock.ts';
import type { InstrumentReport, SeriesReport } from './findings.ts';
import { findCandles } from './found-candles.ts';
import { checkRollup } from './rollup.ts';
import { checkRows } from './rows.ts';
import type { SeriesCheck } from './series-check.ts';
import { checkIntervals, checkTables } from './tables.ts';

export interface CheckOptions {
  /** Default: all. */
  interval?: Interval | undefined;
  /** Open times to check, Unix ms. Default: all. */
  fromMs?: number | undefined;
  toMs?: number | undefined;
  /** Also compare the archive with what archive_batches says was moved there. */
  isDeep?: boolean;
  /** Decides which candles have closed, where the database's clock finds some that have not. */
  clock?: ExchangeClock | undefined;
}

/** Clocks that differ by less do not change a finding. */
const TOLERANCE_MS = 10;

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
  const { clock } = options;
  const check = (offsetMs: number) =>
    // A standby cancels a check that needs rows which the primary has removed meanwhile.
    retry(() => checkOnce(sql, instrument, options, offsetMs), {
      isTransient: (error) => sqlState(error) === SQLSTATE.serializationFailure,
    });
  const knownMs = await clock?.knownOffsetMs(instrument.market);
  const report = await check(knownMs ?? 0);
  if (!clock || knownMs !== undefined || !dependsOnClock(report)) return report;
  // Not within the transaction: it holds the connection over which requests share their pauses.
  const offsetMs = await clock.offsetMs(instrument.market);
  return Math.abs(offsetMs) < TOLERANCE_MS ? report : await check(offsetMs);
}

async function checkOnce(
  sql: postgres.Sql,
  instrument: Instrument,
  options: CheckOptions,
  offsetMs: number,
): Promise<InstrumentReport> {
  // Candles that a run added before the snapshot may have been committed after it.
  const busyBefore = await instrumentHolder(sql, instrument.id);
  const report = await sql.begin('isolation level repeatable read read only', async (tx) => {
    const [facts] = await tx`
      select now() as now, delisted_at from instruments where id = ${instrument.id}`;
    const nowMs: number = facts?.now.getTime() + offsetMs;
    const { fromMs = 0, toMs = nowMs + 1000 * DAY_MS } = options;
    const common = {
      sql: tx,
      bounds: { fromMs, toMs },
      nowMs,
      delistedAtMs: facts?.delisted_at?.getTime(),
      busyWith: busyBefore ?? (await instrumentHolder(tx, instrument.id)),
    };
    const reports: SeriesReport[] = [];
    for (const { series, stored } of await knownSeries(tx, instrument, options.interval)) {
      const all = stored ? [{ fromMs: stored.firstMs, toMs: stored.lastMs + 1 }] : [];
      const [range] = clipRanges(all, common.bounds);
      const days = range ? await countDays(tx, series, range) : [];
      reports.push(await checkSeries({ ...common, series, stored, days }, options));
    }
    for (const longer of reports)
      longer.findings.push(...(await checkRollup(tx, longer, reports, common.bounds)));
    const findings = [
      ...(await checkTables(tx, instrument)),
      ...(await checkIntervals(tx, instrument)),
    ];
    return { instrument, series: reports, findings };
  });
  return report as InstrumentReport;
}

async function checkSeries(check: SeriesCheck, { isDeep }: CheckOptions): Promise<SeriesReport> {
  const { sql, series, stored, bounds, days } = check;
  const { missing, findings } = await checkCoverage(check);
  findings.push(
    ...(await checkRows(check)),
    ...(await findCandles(sql, series, 'verify/tier_boundary.sql', rangeValues(series, bounds))),
    ...(await findCandles(sql, series, 'verify/logged_differences.sql', {
      ...rangeValues(series, bounds),
    })),
    ...(isDeep ? await checkBatches(sql, series, bounds) : []),
  );
  const candles = days.reduce((sum, day) => sum + day.rows, 0);
  return { series, candles, stored, findings, missing };
}

/** The series with a candle, or with a loaded file or an archive batch that had one. Shortest first. */
async function knownSeries(
  sql: Sql,
  instrument: Instrument,
  interval: Interval | undefined,
): Promise<{ series: Series; stored: StoredSeries | undefined }[]> {
  const stored = await storedSeries(sql, instrument, interval && [interval]);
  const recorded = await sql`
    select interval from loaded_files where instrument_id = ${instrument.id} and rows > 0
    union
    select interval from archive_batches where instrument_id = ${instrument.id} and moved_rows > 0`;
  const names = new Set([...stored, ...recorded].map((each) => each.interval));
  return INTERVALS.filter((each) => names.has(each) && (!interval || each === interval)).map(
    (each) => ({
      series: { instrument, interval: each },
      stored: stored.find((one) => one.interval === each),
    }),
  );
}
