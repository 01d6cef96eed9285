import type { Day } from './days.ts';

/** Enough for the eye, and what makes 500 charts fit in a page. */
const SIGNIFICANT_DIGITS = 6;

/** Daily candles of a chart, as small whole numbers. */
export interface ChartData {
  /** Decimals that the numbers were multiplied away by: a price is number / 10 ** scale. */
  scale: number;
  /**
   * Five a candle: days since the one before, open less the close before, high less open, open less
   * low, close less open.
   */
  values: number[];
}

/** @returns undefined when there is nothing to draw */
export function encodeChart(days: readonly Day[]): ChartData | undefined {
  // What is no price, or a negative one, would spoil the scale of all others.
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
