import { KlinekeepError } from '../base/mod.ts';
import { addSteps, clipRanges, floorToGrid, type TimeRange } from '../market/mod.ts';
import {
  addCounts,
  fetchableRanges,
  NOTHING_STORED,
  type StoreCounts,
  storedSeries,
  storeListedAt,
  storePage,
} from '../store/mod.ts';
import { type Download, forEachPage, requestAgain } from './pages.ts';

/** The result of requesting ranges twice. */
export interface Downloaded {
  counts: StoreCounts;
  /** Parts of the ranges that are still not stored. */
  missing: TimeRange[];
  /** Parts of `missing` that two answers did not contain: gaps of the exchange once they are old enough. */
  missingTwice: TimeRange[];
  /** Whether the exchange sent any candles, stored before or not. */
  hasCandles: boolean;
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
  if (first.missing.length === 0) return { ...first, missingTwice: [] };
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
  return {
    counts: addCounts(first.counts, second.counts),
    missing: second.missing,
    // A rejected row may have been the candle: then only one answer was without it.
    missingTwice: first.counts.rejected === 0 ? second.missing : [],
    hasCandles: first.hasCandles || second.hasCandles,
  };
}

async function downloadOnce(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<Omit<Downloaded, 'missingTwice'>> {
  const { session, series, signal, onPage } = download;
  let total: StoreCounts = NOTHING_STORED;
  let hasCandles = false;
  await forEachPage(download, ranges, async (page, slots) => {
    signal.throwIfAborted();
    const counts = await storePage(session, series, page, (openTimesMs) =>
      requestAgain(download, openTimesMs),
    );
    total = addCounts(total, counts);
    hasCandles ||= page.csv.length > 0 && counts.rejected === 0;
    onPage?.({ slots, untilMs: page.asked.toMs, counts });
  });
  return { counts: total, missing: await findFetchable(download, ranges), hasCandles };
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
 * The gaps of the exchange among what two answers did not contain. If the exchange sent no candle at
 * all, its last and first stored candle are requested: without one of these its answers prove nothing.
 * @param untilMs candles that open later may still be published, see `settledUntilMs`
 */
export async function trueGaps(
  download: Download,
  { missingTwice, hasCandles }: Downloaded,
  untilMs: number,
): Promise<TimeRange[]> {
  const gaps = clipRanges(missingTwice, { fromMs: 0, toMs: untilMs });
  if (gaps.length === 0 || hasCandles) return gaps;
  const { instrument, interval } = download.series;
  const [stored] = await storedSeries(download.session, instrument, [interval]);
  if (!stored) return [];
  for (const timeMs of [stored.lastMs, stored.firstMs]) {
    const fromMs = floorToGrid(interval, timeMs);
    let isAnswered = false;
    await forEachPage(download, [{ fromMs, toMs: addSteps(interval, fromMs, 1) }], async (page) => {
      isAnswered = page.csv.length > 0;
    });
    if (isAnswered) return gaps;
  }
  return [];
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
