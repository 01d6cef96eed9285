import { subtractRanges, type TimeRange } from '../market/mod.ts';
import { confirmGaps, recordOpenGaps, settledUntilMs, storedSeries } from '../store/mod.ts';
import type { Downloaded } from './download.ts';
import type { Download } from './pages.ts';

/**
 * Records the holes that the exchange has too. Those that are old in full are confirmed (otherwise
 * an update every minute would confirm an hour in sixty parts); the others stay open, to be requested
 * again. Only holes between two stored candles count: before the first one the symbol may not have
 * been listed, and after the last one more candles may follow.
 * @param reachedMs where the download ended, Unix ms
 * @returns where the first hole that is left to a later run begins, Unix ms, or else `reachedMs`
 */
export async function recordHoles(
  { source, session, series }: Download,
  { missing, missingTwice, hasCandles }: Downloaded,
  reachedMs: number,
): Promise<number> {
  const { instrument, interval } = series;
  let confirmed: TimeRange[] = [];
  if (hasCandles && missingTwice.length > 0) {
    const [stored] = await storedSeries(session, instrument, [interval]);
    const holes = missingTwice.filter(
      ({ fromMs, toMs }) => stored && fromMs > stored.firstMs && toMs <= stored.lastMs,
    );
    const untilMs = settledUntilMs(interval, await source.serverTimeMs(instrument.market));
    confirmed = holes.filter(({ toMs }) => toMs <= untilMs);
    await confirmGaps(session, series, confirmed);
    await recordOpenGaps(session, series, subtractRanges(holes, confirmed));
  }
  return subtractRanges(missing, confirmed).reduce(
    (leastMs, { fromMs }) => Math.min(leastMs, fromMs),
    reachedMs,
  );
}
