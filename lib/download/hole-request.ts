/** The request that shows whether the exchange has candles between two stored ones. */
import { readKlines, type TimeRange } from '../market/mod.ts';
import { NOTHING_STORED, type StoreCounts, storePage } from '../store/mod.ts';
import { type Download, requestAgain, toCsv } from './pages.ts';

/** Candles of one answer: no more, because a larger limit weighs more. */
const LIMIT = 99;

/** A range without candles, and the stored candles before and after it. */
export interface Hole {
  /** Open times of the two candles, Unix ms. */
  beforeMs: number;
  afterMs: number;
  range: TimeRange;
}

/**
 * `shown`: exactly the two candles. `filled`: the exchange has candles between them; those in the
 * answer were stored. `unclear`: any other answer.
 */
export interface HoleAnswer {
  state: 'shown' | 'filled' | 'unclear';
  counts: StoreCounts;
}

/** Requests the candles from the one before a hole to the one after it. */
export async function requestHole(
  download: Download,
  { beforeMs, afterMs }: Omit<Hole, 'range'>,
): Promise<HoleAnswer> {
  const { openTimesMs, isIntact, store } = await requestFirst(download, {
    fromMs: beforeMs,
    toMs: afterMs + 1,
  });
  if (openTimesMs.some((timeMs) => timeMs > beforeMs && timeMs < afterMs))
    return { state: 'filled', counts: await store() };
  const isShown =
    isIntact &&
    openTimesMs.length === 2 &&
    openTimesMs[0] === beforeMs &&
    openTimesMs[1] === afterMs;
  return { state: isShown ? 'shown' : 'unclear', counts: NOTHING_STORED };
}

/** The first candles of a range, at most 99. `isIntact`: each row of the answer is a closed candle. */
export async function requestFirst(download: Download, asked: TimeRange) {
  const { source, session, series, onRequest } = download;
  const { interval, instrument } = series;
  const { market, exchangeSymbol } = instrument;
  const askedAtMs = await source.serverTimeMs(market);
  const rows = await source.klines({
    ...{ market, exchangeSymbol, interval, range: asked, limit: LIMIT },
    onRequest,
  });
  const page = { asked, csv: toCsv(rows), askedAtMs, source: 'rest' };
  const { candles } = readKlines(page.csv, { ...page, interval });
  return {
    openTimesMs: candles.map((candle) => Date.parse(candle.open_time as string)),
    isIntact: candles.length === rows.length,
    store: async (): Promise<StoreCounts> =>
      await storePage(session, series, page, (timesMs) => requestAgain(download, timesMs)),
  };
}
