import { clipRanges, type TimeRange } from '../market/mod.ts';
import { addCounts, NOTHING_STORED, type StoreCounts, storedSeries } from '../store/mod.ts';
import { downloadOnce, findFetchable, ifServed } from './download.ts';
import { requestFirst } from './hole-request.ts';
import type { Download } from './pages.ts';

/** What is missing before the first stored candle of a series and after the last one. */
export interface SeriesEnds {
  /** Candles that the exchange had after all. */
  counts: StoreCounts;
  /** Parts of what is missing for which the exchange may have candles: its answers prove nothing. */
  unclear: TimeRange[];
}

/**
 * Finds out whether the exchange has candles before the first stored one and after the last one,
 * after these were downloaded in vain, and stores them. One small request for each end: an answer
 * with the stored candle and nothing beyond it is believed for this run, and nothing is recorded.
 */
export async function fillEnds(
  download: Download,
  missing: readonly TimeRange[],
): Promise<SeriesEnds> {
  const { session, series } = download;
  const ends: SeriesEnds = { counts: NOTHING_STORED, unclear: [] };
  if (missing.length === 0) return ends;
  const [stored] = await storedSeries(session, series.instrument, [series.interval]);
  if (!stored) {
    // Of a symbol that is no longer traded there may be none.
    const isActive = series.instrument.status === 'active';
    return { ...ends, unclear: isActive ? [...missing] : [] };
  }
  const { firstMs, lastMs } = stored;
  const head = clipRanges(missing, { fromMs: 0, toMs: firstMs });
  const tail = clipRanges(missing, { fromMs: lastMs + 1, toMs: Number.POSITIVE_INFINITY });
  const requests = [
    { parts: head, knownMs: firstMs, range: { fromMs: head[0]?.fromMs ?? 0, toMs: firstMs + 1 } },
    { parts: tail, knownMs: lastMs, range: { fromMs: lastMs, toMs: tail.at(-1)?.toMs ?? 0 } },
  ];
  for (const { parts, knownMs, range } of requests) {
    if (parts.length === 0) continue;
    const answer = await ifServed(series.instrument, () => requestFirst(download, range));
    if (answer === undefined) continue;
    const { openTimesMs, isIntact } = answer;
    const hasMore = openTimesMs.some((timeMs) => timeMs !== knownMs);
    if (!hasMore && isIntact && openTimesMs.length === 1) continue;
    if (hasMore) {
      const first = await answer.store();
      const rest = await downloadOnce({ ...download, onPage: () => {} }, parts);
      ends.counts = addCounts(ends.counts, addCounts(first, rest.counts));
    }
    ends.unclear.push(...(await findFetchable(download, parts)));
  }
  return ends;
}
