import { confirmGaps, settledUntilMs, subtractRanges } from './gaps.ts';
import type { Download, Downloaded } from './history.ts';
import { storedSeries } from './series.ts';

/**
 * Confirms the holes that the exchange has too. Only those between two stored candles: before the
 * first one the symbol may not have been listed, and behind the last one it may go on. And only
 * those that are old all through: else an update a minute would confirm an hour in sixty parts.
 * @returns where the first hole begins that is left to the next run, Unix ms, or else `reachedMs`
 */
export async function settleHoles(
  { source, session, series }: Download,
  { missing, lackedTwice, hasSent }: Downloaded,
  reachedMs: number,
): Promise<number> {
  const { instrument, interval } = series;
  const untilMs = settledUntilMs(interval, await source.serverTimeMs(instrument.market));
  const old = hasSent ? lackedTwice.filter(({ toMs }) => toMs <= untilMs) : [];
  if (old.length === 0) return missing[0]?.fromMs ?? reachedMs;
  const [stored] = await storedSeries(session, instrument, [interval]);
  const gaps = old.filter(
    ({ fromMs, toMs }) => stored && fromMs > stored.firstMs && toMs <= stored.lastMs,
  );
  await confirmGaps(session, series, gaps);
  return subtractRanges(missing, gaps)[0]?.fromMs ?? reachedMs;
}
