import type { TimeRange } from '../market/mod.ts';
import {
  addCounts,
  findNeighbours,
  forgetGaps,
  NOTHING_STORED,
  recordOpenGaps,
  recordRecheck,
  type StoreCounts,
} from '../store/mod.ts';
import { downloadOnce, ifServed } from './download.ts';
import { requestHole } from './hole-request.ts';
import type { Download } from './pages.ts';

/** What requesting confirmed gaps again has shown, in gaps. */
export interface RecheckCounts {
  /** Shown again. */
  shown: number;
  /** Forgotten: the exchange has candles there. */
  forgotten: number;
  /** The answer proved neither. The gap stays confirmed. */
  unclear: number;
}

/**
 * Requests confirmed gaps again, each with one small request. A gap for which the exchange has
 * candles is forgotten, and they are downloaded.
 */
export async function recheckGaps(
  download: Download,
  gaps: readonly TimeRange[],
): Promise<{ counts: StoreCounts; rechecked: RecheckCounts }> {
  const { session, series, signal } = download;
  const rechecked: RecheckCounts = { shown: 0, forgotten: 0, unclear: 0 };
  let counts: StoreCounts = NOTHING_STORED;
  for (const gap of gaps) {
    signal.throwIfAborted();
    const [hole] = await findNeighbours(session, series, [gap]);
    const answer = hole && (await ifServed(series.instrument, () => requestHole(download, hole)));
    if (answer?.state !== 'filled') {
      const isShown = answer?.state === 'shown';
      await recordRecheck(session, series, gap, isShown);
      rechecked[isShown ? 'shown' : 'unclear'] += 1;
      continue;
    }
    await forgetGaps(session, series, gap);
    const rest = await downloadOnce({ ...download, onPage: () => {} }, [gap]);
    await recordOpenGaps(session, series, rest.missing);
    counts = addCounts(counts, addCounts(answer.counts, rest.counts));
    rechecked.forgotten += 1;
  }
  return { counts, rechecked };
}
