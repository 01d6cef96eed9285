import { addMonths, DAY_MS, startOfDay, startOfMonth, toUtc } from '../base/mod.ts';
import type { Interval, Market, TimeRange } from '../market/mod.ts';

/** One file of data.binance.vision: the candles that open in a month or on a day. */
export interface BulkFile {
  /** `BTCUSDT-1m-2023-02.zip`; unique within its market. */
  name: string;
  market: Market;
  period: 'monthly' | 'daily';
  /** Below the address of data.binance.vision. */
  path: string;
  /** The open times that it covers. */
  range: TimeRange;
}

export interface BulkOwner {
  market: Market;
  exchangeSymbol: string;
}

const FOLDERS: Record<Market, string> = { spot: 'spot', usdm: 'futures/um' };

/** Whether daily files exist: only for intervals up to a day. */
export function hasDailyFiles(interval: Interval): boolean {
  return !['3d', '1w', '1M'].includes(interval);
}

/** The file of the month that contains a time (Unix ms). */
export function monthFile(owner: BulkOwner, interval: Interval, timeMs: number): BulkFile {
  const fromMs = startOfMonth(toUtc(timeMs)).getTime();
  const range = { fromMs, toMs: addMonths(toUtc(fromMs), 1).getTime() };
  return describeFile(owner, interval, 'monthly', range);
}

/** The file of the day that contains a time (Unix ms). */
export function dayFile(owner: BulkOwner, interval: Interval, timeMs: number): BulkFile {
  const fromMs = startOfDay(timeMs);
  return describeFile(owner, interval, 'daily', { fromMs, toMs: fromMs + DAY_MS });
}

/** The file of a name; undefined when the series has no such file. */
export function fileNamed(
  owner: BulkOwner,
  interval: Interval,
  name: string,
): BulkFile | undefined {
  const date = /-(\d{4}-\d{2}(-\d{2})?)\.zip$/.exec(name);
  if (!date) return undefined;
  const describe = date[2] ? dayFile : monthFile;
  const file = describe(owner, interval, Date.parse(date[1] as string));
  return file.name === name ? file : undefined;
}

function describeFile(
  { market, exchangeSymbol }: BulkOwner,
  interval: Interval,
  period: BulkFile['period'],
  range: TimeRange,
): BulkFile {
  // The month is 1mo here and 1M in REST.
  const width = interval === '1M' ? '1mo' : interval;
  const date = new Date(range.fromMs).toISOString().slice(0, period === 'monthly' ? 7 : 10);
  const name = `${exchangeSymbol}-${width}-${date}.zip`;
  const path = [FOLDERS[market], period, 'klines', exchangeSymbol, width, name]
    .map(encodeURI)
    .join('/');
  return { name, market, period, path: `data/${path}`, range };
}
