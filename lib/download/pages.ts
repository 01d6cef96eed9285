import { PAGE_SIZE, type RawKline, type RestSource, UnknownSymbolError } from '../binance/mod.ts';
import {
  countSlots,
  floorToGrid,
  type Interval,
  readKlines,
  type Series,
  slotRanges,
  splitIntoWindows,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Session } from '../postgres/mod.ts';
import {
  KlineEncoder,
  type Page,
  type RejectedKline,
  type StoreCounts,
  stage,
} from '../store/mod.ts';

/** Open times that are at most this many slots apart are requested together. */
const APART = 100;

/** What the download of one series works with. */
export interface Download {
  source: RestSource;
  /** Holds the instrument's lock. */
  session: Session;
  series: Series;
  signal: AbortSignal;
  /** Pages requested at the same time. Default 1. */
  concurrency?: number;
  /** Called before each request for candles, retries included. */
  onRequest?: () => void;
  /** Called after each stored page. */
  onPage?: (page: StoredPage) => void;
}

export interface StoredPage {
  /** How many open times the page was for, stored or not. */
  slots: number;
  untilMs: number;
  counts: StoreCounts;
  /** For a bulk file: how many are done, of how many. */
  files?: { done: number; total: number };
}

/**
 * Requests ranges page by page, several at a time, and passes the pages on in their order. Nothing
 * behind a page that fails is passed on, so the next run continues there.
 * @param take `slots`: how many open times the page was for
 */
export async function forEachPage(
  download: Download,
  ranges: readonly TimeRange[],
  take: (page: Page, slots: number) => Promise<void>,
): Promise<void> {
  const { series, signal, concurrency = 1 } = download;
  const pageSize = PAGE_SIZE[series.instrument.market];
  const windows = splitIntoWindows(series.interval, ranges, pageSize);
  const ahead: Promise<RequestedPage[]>[] = [];
  const requestNext = () => {
    const next = windows.next();
    if (next.done) return;
    const pages = requestWindow(download, next.value);
    pages.catch(() => {});
    ahead.push(pages);
  };
  try {
    for (let at = 0; at < concurrency; at++) requestNext();
    while (ahead.length > 0) {
      const pages = await (ahead[0] as Promise<RequestedPage[]>);
      ahead.shift();
      requestNext();
      for (const { page, slots } of pages) {
        signal.throwIfAborted();
        await take(page, slots);
      }
    }
  } finally {
    // No request may outlive the call.
    await Promise.allSettled(ahead);
  }
}

/**
 * Requests single candles over REST, by their open times (Unix ms), because sources differ. What an
 * answer is missing is requested once more, since the answer may have been a broken one.
 * @returns pages, without the candles that REST does not have
 */
export async function requestAgain(
  download: Download,
  openTimesMs: readonly number[],
): Promise<Page[]> {
  const { interval } = download.series;
  const missing = new Set(openTimesMs);
  const pages: Page[] = [];
  for (let attempt = 1; attempt <= 2 && missing.size > 0; attempt++) {
    try {
      await forEachPage(download, slotRanges(interval, [...missing], APART), async (page) => {
        pages.push(page);
        for (const { open_time } of readKlines(page.csv, { ...page, interval }).candles)
          missing.delete(Date.parse(open_time as string));
      });
    } catch (error) {
      // REST does not serve some delisted symbols, whose files are still published.
      if (!(error instanceof UnknownSymbolError)) throw error;
    }
  }
  return pages;
}

/**
 * Requests ranges and puts the closed candles into an empty staging table.
 * @returns the rows that are no candles
 */
export async function stageFromRest(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<RejectedKline[]> {
  const { session, series } = download;
  const rejected: RejectedKline[] = [];
  await runSql(session, 'store/create_staging.sql');
  await forEachPage(download, ranges, async (page) => {
    const encoder = new KlineEncoder(series, page);
    await stage(session, encoder);
    for (const each of encoder.rejected) rejected.push(each);
  });
  return rejected;
}

interface RequestedPage {
  page: Page;
  slots: number;
}

/** One page, or more where the window has candles off the grid besides those on it. */
async function requestWindow(
  { source, series, signal, onRequest }: Download,
  window: TimeRange,
): Promise<RequestedPage[]> {
  const { instrument, interval } = series;
  const limit = countSlots(interval, window);
  const pages: RequestedPage[] = [];
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
    const rest = findCutOff(interval, asked, rows, limit);
    const page: Page = { asked, csv: toCsv(rows), askedAtMs, source: 'rest' };
    pages.push({ page, slots: rest ? 0 : limit });
    asked = rest;
  }
  return pages;
}

/** Lines as in Binance's files, so that one reader serves both sources. */
export function toCsv(rows: readonly RawKline[]): Buffer {
  return Buffer.from(
    rows.map((row) => (Array.isArray(row) ? row.join(',') : JSON.stringify(row))).join('\n'),
  );
}

/** The range that a full answer may have cut off: candles off the grid count towards the limit. */
function findCutOff(
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
