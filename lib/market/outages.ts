/** Outages of the whole exchange that are known: no symbol of the market has candles in them. */
import type { TimeRange } from './ranges.ts';
import type { Market } from './symbols.ts';

export interface Outage extends TimeRange {
  market: Market;
  /** Such as `outage of 2023-03-24`. */
  name: string;
  /**
   * How the window is known. `measured`: from which minutes are missing in all recorded symbols.
   * `published`: the day from Binance's notices, the minutes from several independent, published
   * scans of its 1m candles, which agree.
   */
  evidence: 'measured' | 'published';
  /** Where it can be looked up. */
  reference: string;
}

function spot(
  evidence: Outage['evidence'],
  from: string,
  to: string,
  file = `monthly/klines/BTCUSDT/1m/BTCUSDT-1m-${from.slice(0, 7)}.zip`,
): Outage {
  return {
    market: 'spot',
    name: `outage of ${from.slice(0, 10)}`,
    fromMs: Date.parse(from),
    toMs: Date.parse(to),
    evidence,
    reference: `https://data.binance.vision/data/spot/${file}`,
  };
}

/** From the first minute without a candle to the first one with a candle again, oldest first. */
export const OUTAGES: readonly Outage[] = [
  spot('published', '2018-02-08T00:29Z', '2018-02-09T09:59Z'),
  spot('published', '2018-06-26T02:00Z', '2018-06-26T12:00Z'),
  spot('published', '2019-05-15T03:00Z', '2019-05-15T13:00Z'),
  spot('published', '2020-02-19T11:36Z', '2020-02-19T17:30Z'),
  spot('published', '2021-04-25T04:01Z', '2021-04-25T08:45Z'),
  spot('published', '2021-08-13T02:00Z', '2021-08-13T06:30Z'),
  spot(
    'measured',
    '2023-03-24T12:40Z',
    '2023-03-24T14:00Z',
    'daily/klines/BTCUSDT/1m/BTCUSDT-1m-2023-03-24.zip',
  ),
];

/** The known outage that contains a range of open times. */
export function outageDuring(market: Market, { fromMs, toMs }: TimeRange): Outage | undefined {
  return OUTAGES.find(
    (outage) => outage.market === market && outage.fromMs <= fromMs && outage.toMs >= toMs,
  );
}
