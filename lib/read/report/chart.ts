import type { Day } from './days.ts';

/** More cannot be seen, and 500 charts have to fit in a page. */
const SIGNIFICANT_DIGITS = 6;

/** Daily candles of a chart, as small whole numbers. */
export interface ChartData {
  /** A price is number / 10 ** scale. */
  scale: number;
  /**
   * Five numbers per candle: days since the previous candle, open - previous close, high - open,
   * open - low, close - open.
   */
  values: number[];
}

/** Encodes the days that have prices. @returns undefined if there are none */
export function encodeChart(days: readonly Day[]): ChartData | undefined {
  // A price that is not a number, or is negative, would spoil the scale for all others.
  const priced = days.flatMap(({ index, prices }) =>
    prices?.every((price) => price > 0) ? [{ index, prices }] : [],
  );
  if (priced.length === 0) return undefined;
  const highest = Math.max(...priced.map(({ prices }) => prices[1]));
  const scale = Math.min(8, Math.max(0, SIGNIFICANT_DIGITS - Math.ceil(Math.log10(highest))));
  let [lastIndex, lastClose] = [0, 0];
  const values = priced.flatMap(({ index, prices }) => {
    const [open, high, low, close] = prices.map((price) => Math.round(price * 10 ** scale)) as [
      number,
      number,
      number,
      number,
    ];
    const candle = [index - lastIndex, open - lastClose, high - open, open - low, close - open];
    [lastIndex, lastClose] = [index, close];
    return candle;
  });
  return { scale, values };
}
