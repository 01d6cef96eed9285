import { formatTime } from '../base/mod.ts';
import { type Interval, maxStepMs } from './intervals.ts';
import type { TimeRange } from './ranges.ts';

const DECIMAL = /^-?\d{1,20}(?:\.\d{1,8})?$/;
const POSITIVE = /^(?!-)[^1-9]*[1-9]/;
const WHOLE = /^\d{1,16}$/;
const MAX_INT4 = 2_147_483_647;

/** Spot's bulk files count microseconds from 2025 on; 10^14 ms would be the year 5138. */
const FIRST_MICROSECONDS = 1e14;

/** Index and name of each decimal. */
const DECIMALS = [
  [1, 'open_price'],
  [2, 'high_price'],
  [3, 'low_price'],
  [4, 'close_price'],
  [5, 'volume'],
  [7, 'quote_volume'],
  [9, 'taker_buy_volume'],
  [10, 'taker_buy_quote_volume'],
] as const;

/**
 * The version of the reader: `whyRejected` and `readKlines` here, `KlineEncoder` in the store, and what
 * unpacks a bulk file. Raise it when the same file would give different candles: verify --files then
 * compares files again that were loaded or compared with an older version.
 */
export const READER_VERSION = 1;

/**
 * Checks one kline as Binance sent it: 12 fields, open and close time in ms or µs (distinguished by
 * size, truncated to ms), decimals as strings. Odd values that Binance published (negative volume,
 * close above high, off the grid) pass.
 * @param asked the open times that were requested
 * @returns why it is no candle; undefined: it is one
 */
export function whyRejected(
  raw: readonly string[],
  asked: TimeRange,
  interval: Interval,
): string | undefined {
  if (raw.length !== 12) return 'not 12 fields';
  const openMs = readTimeMs(raw[0]);
  if (openMs === undefined) return `open_time is not a time: ${show(raw[0])}`;
  const closeMs = readTimeMs(raw[6]);
  if (closeMs === undefined) return `close_time is not a time: ${show(raw[6])}`;
  if (openMs < asked.fromMs || openMs >= asked.toMs) {
    return `open_time ${formatTime(openMs)} is outside the requested range`;
  }
  if (closeMs < openMs || closeMs > openMs + 2 * maxStepMs(interval)) {
    return `close_time ${formatTime(closeMs)} is not the end of a candle that opens ${formatTime(openMs)}`;
  }
  for (const [index, name] of DECIMALS) {
    const value = String(raw[index]);
    if (!DECIMAL.test(value))
      return `${name} is not a number with at most 8 decimals: ${show(raw[index])}`;
    const isPrice = name.endsWith('_price');
    if (isPrice && !POSITIVE.test(value)) return `${name} is not above zero: ${show(raw[index])}`;
  }
  const trades = String(raw[8]);
  if (!WHOLE.test(trades) || Number(trades) > MAX_INT4)
    return `trades_count is not a count: ${show(raw[8])}`;

  return undefined;
}

/** A candle by column name: times as ISO text, decimals unchanged. */
export type KlineRecord = Record<string, string>;

/**
 * Reads a few lines of 12 fields, as KlineEncoder does for many.
 * @returns the closed candles in `wanted`, and how many lines are no candles
 */
export function readKlines(
  csv: Buffer,
  options: {
    interval: Interval;
    asked: TimeRange;
    wanted?: TimeRange | undefined;
    /** The exchange's clock, Unix ms. */
    askedAtMs: number;
  },
): { candles: KlineRecord[]; rejected: number } {
  const { interval, asked, wanted = asked, askedAtMs } = options;
  const candles: KlineRecord[] = [];
  let rejected = 0;
  for (const line of csv.toString('utf8').split(/\r?\n/)) {
    if (line === '') continue;
    const raw = line.split(',');
    if (whyRejected(raw, asked, interval) !== undefined) {
      rejected += 1;
      continue;
    }
    const openMs = readTimeMs(raw[0]) as number;
    const closeMs = readTimeMs(raw[6]) as number;
    if (openMs < wanted.fromMs || openMs >= wanted.toMs || closeMs >= askedAtMs) continue;
    const record: KlineRecord = {
      open_time: new Date(openMs).toISOString(),
      close_time: new Date(closeMs).toISOString(),
      trades_count: raw[8] as string,
    };
    for (const [index, name] of DECIMALS) record[name] = raw[index] as string;
    candles.push(record);
  }
  return { candles, rejected };
}

function readTimeMs(text: string | undefined): number | undefined {
  if (!text || !/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number >= FIRST_MICROSECONDS ? Math.floor(number / 1000) : number;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? 'nothing').slice(0, 60);
}
