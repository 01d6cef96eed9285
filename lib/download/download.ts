import { KlinekeepError } from '../base/mod.ts';
import { UnknownSymbolError } from '../binance/mod.ts';
import { floorToGrid, type Instrument, type TimeRange } from '../market/mod.ts';
import {
  addCounts,
  fetchableRanges,
  NOTHING_STORED,
  type StoreCounts,
  storeListedAt,
  storePage,
} from '../store/mod.ts';
import { type Download, forEachPage, requestAgain } from './pages.ts';

/** The result of requesting ranges. */
export interface Downloaded {
  counts: StoreCounts;
  /** Parts of the ranges that are still not stored. */
  missing: TimeRange[];
}

/**
 * Downloads ranges, then once more what is missing of them: a page may have been damaged, short or
 * empty. Each page is stored at once, so a run that is killed loses only the page in hand.
 * @throws KlinekeepError (65) when rows were rejected the second time too
 */
export async function downloadTwice(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<Downloaded> {
  const first = await downloadOnce(download, ranges);
  if (first.missing.length === 0) return first;
  const second = await downloadOnce({ ...download, onPage: () => {} }, first.missing);
  if (second.counts.rejected > 0) {
    throw new KlinekeepError(
      'data',
      `Binance sent ${second.counts.rejected} rows that are not candles, even when they were requested again.`,
      {
        hint: 'The rejected rows and the reasons are in rejected_klines. fetch requests the missing candles again.',
      },
    );
  }
  return { counts: addCounts(first.counts, second.counts), missing: second.missing };
}

/** Downloads ranges and stores each page. */
export async function downloadOnce(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<Downloaded> {
  const { session, series, signal, onPage } = download;
  let total: StoreCounts = NOTHING_STORED;
  await forEachPage(download, ranges, async (page, slots) => {
    signal.throwIfAborted();
    const counts = await storePage(session, series, page, (openTimesMs) =>
      requestAgain(download, openTimesMs),
    );
    total = addCounts(total, counts);
    onPage?.({ slots, untilMs: page.asked.toMs, counts });
  });
  return { counts: total, missing: await findFetchable(download, ranges) };
}

/**
 * The result of requests over REST.
 * @returns undefined: the symbol is delisted, and REST does not know it any more; its files may still
 * be published
 */
export async function ifServed<T>(
  { status }: Instrument,
  request: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await request();
  } catch (error) {
    if (status === 'delisted' && error instanceof UnknownSymbolError) return undefined;
    throw error;
  }
}

/** The candles that are missing in the ranges and that the exchange may have. */
export async function findFetchable(
  { session, series }: Download,
  ranges: readonly TimeRange[],
): Promise<TimeRange[]> {
  const missing: TimeRange[] = [];
  for (const range of ranges)
    for (const each of await fetchableRanges(session, series, range)) missing.push(each);
  return missing;
}

/**
 * When the instrument's first candle opened, Unix ms: looked up at the exchange once, then stored.
 * exchangeInfo is no help: spot has no listing date, and usdm's can be weeks late (BTCUSDT trades
 * since 2019-09-08, its onboardDate is 2019-09-25).
 * @returns undefined when there is no candle yet
 */
export async function listedAtMs({
  source,
  session,
  series,
}: Download): Promise<number | undefined> {
  const { instrument } = series;
  if (instrument.listedAtMs !== undefined) return instrument.listedAtMs;
  const firstMs = await source.firstOpenMs(instrument.market, instrument.exchangeSymbol);
  if (firstMs !== undefined) await storeListedAt(session, instrument, firstMs);
  return firstMs;
}

/** The open time of the candle that is still forming by the exchange's clock, Unix ms. */
export async function formingOpenMs({ source, series }: Download): Promise<number> {
  return floorToGrid(series.interval, await source.serverTimeMs(series.instrument.market));
}
