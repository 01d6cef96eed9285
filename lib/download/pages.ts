import { KlinekeepError } from '../base/mod.ts';
import { PAGE_SIZE, type RawKline, type RestSource } from '../binance/mod.ts';
import {
  addSteps,
  clipRanges,
  countSlots,
  floorToGrid,
  type Interval,
  type Series,
  splitIntoWindows,
  type TimeRange,
} from '../market/mod.ts';
import type { Session } from '../postgres/mod.ts';
import {
  fetchableRanges,
  type Page,
  type StoreCounts,
  storedSeries,
  storeListedAt,
  storePage,
} from '../store/mod.ts';

/** What the download of one series works with. */
export interface Download {
  source: RestSource;
  /** Holds the instrument's lock. */
  session: Session;
  series: Series;
  signal: AbortSignal;
  /** Pages asked for at the same time. Default 1. */
  concurrency?: number;
  /** Before each request for candles, repeated ones too. */
  onRequest?: () => void;
  /** After each stored page. `slots`: how many open times it settled, stored or not. */
  onPage?: (page: StoredPage) => void;
}

export interface StoredPage {
  slots: number;
  untilMs: number;
  counts: StoreCounts;
  /** Of a bulk file: how many are through, of how many. */
  files?: { done: number; total: number };
}

/** What asking for ranges twice has led to. */
export interface Downloaded {
  counts: StoreCounts;
  /** Of the ranges, what is not stored still. */
  missing: TimeRange[];
  /** Of `missing`, what two answers were without: a gap of the exchange, when it is old enough. */
  lackedTwice: TimeRange[];
  /** Whether the exchange sent candles, stored before or not. */
  hasSent: boolean;
}

/**
 * Asks the exchange for every candle in `ranges` and stores each page as it comes, so that
 * a run that is killed has lost nothing but the page it was at.
 */
async function downloadRanges(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<{ counts: StoreCounts; hasSent: boolean }> {
  const { session, series, signal, onPage } = download;
  const total: StoreCounts = { inserted: 0, revised: 0, rejected: 0 };
  let hasSent = false;
  await forEachPage(download, ranges, async (page, slots) => {
    signal.throwIfAborted();
    const counts = await storePage(session, series, page);
    total.inserted += counts.inserted;
    total.revised += counts.revised;
    total.rejected += counts.rejected;
    hasSent ||= page.csv.length > 0 && counts.rejected === 0;
    onPage?.({ slots, untilMs: page.asked.toMs, counts });
  });
  return { counts: total, hasSent };
}

/**
 * Downloads ranges, and once more what is missing of them then: a page may have come damaged,
 * short or empty.
 * @throws KlinekeepError (65) when rows were rejected and their candles have not come since
 */
export async function downloadTwice(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<Downloaded> {
  const first = await downloadRanges(download, ranges);
  const missing = await stillMissing(download, ranges);
  if (missing.length === 0) return { ...first, missing, lackedTwice: [] };
  const second = await downloadRanges({ ...download, onPage: () => {} }, missing);
  if (second.counts.rejected === 0) {
    const left = await stillMissing(download, missing);
    return {
      counts: addCounts(first.counts, second.counts),
      missing: left,
      // Rows that were rejected may have been the candles: then only one answer was without them.
      lackedTwice: first.counts.rejected === 0 ? left : [],
      hasSent: first.hasSent || second.hasSent,
    };
  }
  throw new KlinekeepError(
    'data',
    `Binance sent ${second.counts.rejected} rows that are no candles, twice.`,
    {
      hint: 'They are in rejected_klines, with the reason. fetch requests the missing candles again.',
    },
  );
}

/**
 * Of what two answers were without, what the exchange has not. Where it sent nothing at all it is asked
 * for the last and the first candle that are stored: if it sends neither, its silence says nothing.
 * @param untilMs what closed after this may still come, see `settledUntilMs`
 */
export async function trueGaps(
  download: Download,
  { lackedTwice, hasSent }: Downloaded,
  untilMs: number,
): Promise<TimeRange[]> {
  const gaps = clipRanges(lackedTwice, { fromMs: 0, toMs: untilMs });
  if (gaps.length === 0 || hasSent) return gaps;
  const { instrument, interval } = download.series;
  const [stored] = await storedSeries(download.session, instrument, [interval]);
  if (!stored) return [];
  for (const timeMs of [stored.lastMs, stored.firstMs]) {
    const fromMs = floorToGrid(interval, timeMs);
    let isSpeaking = false;
    await forEachPage(download, [{ fromMs, toMs: addSteps(interval, fromMs, 1) }], async (page) => {
      isSpeaking = page.csv.length > 0;
    });
    if (isSpeaking) return gaps;
  }
  return [];
}

async function stillMissing(
  { session, series }: Download,
  ranges: readonly TimeRange[],
): Promise<TimeRange[]> {
  const missing: TimeRange[] = [];
  for (const range of ranges)
    for (const each of await fetchableRanges(session, series, range)) missing.push(each);
  return missing;
}

export function addCounts(a: StoreCounts, b: StoreCounts): StoreCounts {
  return {
    inserted: a.inserted + b.inserted,
    revised: a.revised + b.revised,
    rejected: a.rejected + b.rejected,
  };
}

/**
 * Asks for the ranges page by page, several at a time, and hands them on in their order: what is
 * behind a page that fails is not stored, so that the next run begins there.
 */
export async function forEachPage(
  download: Download,
  ranges: readonly TimeRange[],
  take: (page: Page, slots: number) => Promise<void>,
): Promise<void> {
  const { series, signal, concurrency = 1 } = download;
  const pageSize = PAGE_SIZE[series.instrument.market];
  const windows = splitIntoWindows(series.interval, ranges, pageSize)[Symbol.iterator]();
  const ahead: Promise<AskedPage[]>[] = [];
  const askNext = () => {
    const next = windows.next();
    if (next.done) return;
    const pages = askWindow(download, next.value);
    pages.catch(() => {});
    ahead.push(pages);
  };
  try {
    for (let at = 0; at < concurrency; at++) askNext();
    while (ahead.length > 0) {
      const pages = await (ahead[0] as Promise<AskedPage[]>);
      ahead.shift();
      askNext();
      for (const { page, slots } of pages) {
        signal.throwIfAborted();
        await take(page, slots);
      }
    }
  } finally {
    // Nothing runs on behind.
    await Promise.allSettled(ahead);
  }
}

interface AskedPage {
  page: Page;
  slots: number;
}

/** One window: one page, or more where candles off the grid come on top. */
async function askWindow(
  { source, series, signal, onRequest }: Download,
  window: TimeRange,
): Promise<AskedPage[]> {
  const { instrument, interval } = series;
  const limit = countSlots(interval, window);
  const pages: AskedPage[] = [];
  for (let asked: TimeRange | undefined = window; asked; ) {
    signal.throwIfAborted();
    const askedAtMs = await source.serverTimeMs(instrument.market);
    const rows = await source.klines({
      market: instrument.market,
      exchangeSymbol: instrument.exchangeSymbol,
      interval,
      range: asked,
      limit,
      onRequest,
    });
    const rest = cutOff(interval, asked, rows, limit);
    const page: Page = { asked, csv: toCsv(rows), askedAtMs, source: 'rest' };
    pages.push({ page, slots: rest ? 0 : limit });
    asked = rest;
  }
  return pages;
}

/** Into the form of Binance's files, so that both sources go through one reader. */
function toCsv(rows: readonly RawKline[]): Buffer {
  return Buffer.from(
    rows.map((row) => (Array.isArray(row) ? row.join(',') : JSON.stringify(row))).join('\n'),
  );
}

/** What a full answer may have cut off: candles off the grid come on top of those on it. */
function cutOff(
  interval: Interval,
  asked: TimeRange,
  rows: readonly RawKline[],
  limit: number,
): TimeRange | undefined {
  const lastMs = Number(rows.at(-1)?.[0]);
  const isInside = lastMs >= asked.fromMs && lastMs < asked.toMs;
  const reachesEnd = floorToGrid(interval, lastMs) >= floorToGrid(interval, asked.toMs - 1);
  if (rows.length < limit || !isInside || reachesEnd) return undefined;
  return { fromMs: lastMs + 1, toMs: asked.toMs };
}

/**
 * When the instrument's first candle opened, Unix ms: looked up at the exchange once and kept.
 * exchangeInfo is no help: spot has no listing date, and the one of usdm can be weeks late
 * (BTCUSDT trades since 2019-09-08, its onboardDate is 2019-09-25).
 * @returns undefined when there is no candle at all yet
 */
export async function listedAtMs({
  source,
  session,
  series,
}: Download): Promise<number | undefined> {
  const { instrument } = series;
  if (instrument.listedAtMs !== undefined) return instrument.listedAtMs;
  const firstMs = await source.firstOpenMs(instrument.market, instrument.exchangeSymbol);
  if (firstMs === undefined) return undefined;
  await storeListedAt(session, instrument, firstMs);
  return instrument.listedAtMs;
}
