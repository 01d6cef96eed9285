import { type Download, forEachPage } from '../download/mod.ts';
import { addSteps, clipRanges, floorToGrid, type Series, type TimeRange } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import { encoderFor, type StoredSeries, stage } from '../store/mod.ts';
import { type Finding, findingOf } from './findings.ts';

/** The slots of open times as ranges, oldest first; those that touch, or nearly, as one. */
export function slotRanges(
  { interval }: Series,
  timesMs: readonly number[],
  apart = 0,
): TimeRange[] {
  const ranges: TimeRange[] = [];
  for (const timeMs of [...timesMs].sort((a, b) => a - b)) {
    const fromMs = floorToGrid(interval, timeMs);
    const toMs = addSteps(interval, fromMs, 1);
    const last = ranges.at(-1);
    if (last && fromMs <= addSteps(interval, last.toMs, apart))
      last.toMs = Math.max(last.toMs, toMs);
    else ranges.push({ fromMs, toMs });
  }
  return ranges;
}

/** Asks the exchange for ranges, over REST, and stages what it sends that is a closed candle. */
export async function stageAnswer(download: Download, ranges: readonly TimeRange[]): Promise<void> {
  const { session, series } = download;
  await runSql(session, 'store/create_staging.sql');
  await forEachPage(download, ranges, async (page) => {
    await stage(session, encoderFor(series, page));
  });
}

/**
 * Asks the exchange for random stored candles of a series and compares each field.
 * @param download its session needs no lock: nothing is written but the staging table
 * @param picks at most so many candles
 */
export async function compareSeries(
  download: Download,
  stored: StoredSeries,
  bounds: TimeRange,
  picks: number,
): Promise<Finding[]> {
  const { session, series } = download;
  const all = { fromMs: stored.firstMs, toMs: stored.lastMs + 1 };
  const [range] = clipRanges([all], bounds);
  if (!range) return [];
  const values = { instrument_id: series.instrument.id, interval: series.interval };
  const timesMs = await pickTimes(session, values, range, picks);
  if (timesMs.length === 0) return [];
  await stageAnswer(download, slotRanges(series, timesMs));
  const rows = await runSql<{ open_time: Date; detail: string; source: string }>(
    session,
    'verify/differences.sql',
    { ...values, picks: timesMs.join(',') },
  );
  if (rows.length === 0) return [];
  return [
    findingOf(
      series,
      'differs',
      rows.length,
      rows.map((row) => ({
        fromMs: row.open_time.getTime(),
        detail: `${row.detail} (from ${row.source})`,
      })),
    ),
  ];
}

async function pickTimes(
  sql: Sql,
  values: { instrument_id: number; interval: string },
  range: TimeRange,
  picks: number,
): Promise<number[]> {
  const rows = await runSql<{ open_time: Date }>(sql, 'verify/picks.sql', {
    ...values,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
    picks,
  });
  return rows.map((row) => row.open_time.getTime());
}
