import { PAGE_SIZE, type RawKline, type RestSource } from './binance/rest.ts';
import type { Session } from './db.ts';
import { storeListedAt } from './instruments.ts';
import {
  countSlots,
  floorToGrid,
  type Interval,
  splitIntoWindows,
  type TimeRange,
} from './intervals.ts';
import { type Page, type Series, type StoreCounts, storePage } from './klines.ts';
import { inParallel } from './parallel.ts';

/** What the download of one series works with. */
export interface Download {
  source: RestSource;
  /** Holds the instrument's lock. */
  session: Session;
  series: Series;
  signal: AbortSignal;
  /** Pages asked for at the same time. Default 1. */
  concurrency?: number;
  /** After each stored page. `slots`: how many open times it settled, stored or not. */
  onPage?: (page: { slots: number; untilMs: number; counts: StoreCounts }) => void;
}

/**
 * Asks the exchange for every candle in `ranges` and stores each page as it comes, so that
 * a run that is killed has lost nothing but the page it was at.
 */
export async function downloadRanges(
  download: Download,
  ranges: readonly TimeRange[],
): Promise<StoreCounts> {
  const { session, series, signal, onPage } = download;
  const total: StoreCounts = { inserted: 0, revised: 0, rejected: 0 };
  await forEachPage(download, ranges, async (page, slots) => {
    const counts = await storePage(session, series, page);
    total.inserted += counts.inserted;
    total.revised += counts.revised;
    total.rejected += counts.rejected;
    onPage?.({ slots, untilMs: page.asked.toMs, counts });
    signal.throwIfAborted();
  });
  return total;
}

/**
 * Asks for the ranges page by page and hands each page on. Pages are asked for in order, but
 * with more than one at a time they may arrive out of it.
 */
export async function forEachPage(
  { source, series, signal, concurrency = 1 }: Download,
  ranges: readonly TimeRange[],
  take: (page: Page, slots: number) => Promise<void>,
): Promise<void> {
  const { instrument, interval } = series;
  const windows = splitIntoWindows(interval, ranges, PAGE_SIZE[instrument.market]);
  await inParallel(windows, concurrency, async (window) => {
    const slots = countSlots(interval, window);
    for (let asked: TimeRange | undefined = window; asked; ) {
      signal.throwIfAborted();
      const askedAtMs = await source.serverTimeMs(instrument.market);
      const rows = await source.klines(
        instrument.market,
        instrument.exchangeSymbol,
        interval,
        asked,
        slots,
      );
      const rest = cutOff(interval, asked, rows, slots);
      await take({ asked, csv: toCsv(rows), askedAtMs, source: 'rest' }, rest ? 0 : slots);
      asked = rest;
    }
  });
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
  const everything = { fromMs: 0, toMs: await source.serverTimeMs(instrument.market) };
  const [first] = await source.klines(
    instrument.market,
    instrument.exchangeSymbol,
    '1m',
    everything,
    1,
  );
  if (!first) return undefined;
  await storeListedAt(session, instrument, Number(first[0]));
  return instrument.listedAtMs;
}
