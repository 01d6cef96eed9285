/** Which of the candles that are missing Binance does not have either. */
import { missingBetween, outageDuring, subtractRanges, type TimeRange } from '../market/mod.ts';
import {
  addCounts,
  confirmedGaps,
  confirmGap,
  fileThatShows,
  findNeighbours,
  type GapState,
  NOTHING_STORED,
  recordOpenGaps,
  recordShown,
  type StoreCounts,
  settledUntilMs,
} from '../store/mod.ts';
import { downloadOnce, findFetchable, ifServed } from './download.ts';
import { type Hole, requestHole } from './hole-request.ts';
import type { Download } from './pages.ts';

/** Requests for proofs in one run and series. The other gaps are left to later runs. */
const MAX_REQUESTS = 200;

export interface ProvedGaps {
  /** Candles that the exchange had after all. */
  counts: StoreCounts;
  /** What is still missing of the ranges, and not a confirmed gap. */
  missing: TimeRange[];
  /** Gaps that were confirmed now. */
  confirmed: TimeRange[];
  /** Gaps that are not confirmed. */
  open: TimeRange[];
}

/**
 * Decides which missing candles are gaps of the exchange, after they were downloaded in vain. That
 * proves nothing: an answer may have been empty or short. Two of these prove a gap that is a day old:
 * - a REST answer that contains the stored candles on both sides, and none between them. Binance sends
 *   the first candles of a range, so one small request is enough for a gap of any length;
 * - a second such answer, five minutes later or more;
 * - a loaded bulk file that has both candles, and none between them;
 * - a known outage.
 * One of the two must be a REST answer, unless REST does not serve the symbol or is not to be used:
 * then a file alone proves it. All other gaps stay open, for the next run. Before the first stored
 * candle and after the last one there are no gaps.
 * @param missing ranges without a stored candle that are not confirmed gaps
 * @param options.examined what was looked at: open gaps there that are not missing any more are deleted
 */
export async function proveGaps(
  download: Download,
  missing: readonly TimeRange[],
  options: { examined: readonly TimeRange[]; usesRest: boolean },
): Promise<ProvedGaps> {
  const { session, series, source, signal } = download;
  const { market } = series.instrument;
  const result: ProvedGaps = { counts: NOTHING_STORED, missing: [], confirmed: [], open: [] };
  if (missing.length === 0 && options.examined.length === 0) return result;
  const holes = await findHoles(download, missing);
  const ranges = holes.map((hole) => hole.range);
  const states = await recordOpenGaps(session, series, ranges, options.examined);
  const stateOf = new Map(states.map((state) => [state.fromMs, state]));
  const settledMs = settledUntilMs(series.interval, await source.serverTimeMs(market));
  let { usesRest } = options;
  let requests = 0;
  let isFilled = false;
  for (const hole of holes) {
    signal.throwIfAborted();
    const { range } = hole;
    const state = stateOf.get(range.fromMs) as GapState;
    const isOld = range.toMs <= settledMs;
    const file = isOld ? await fileThatShows(session, series, hole) : undefined;
    const outage = outageDuring(market, range)?.name;
    const isShownElsewhere = file !== undefined || outage !== undefined;
    const isProven = isOld && state.isShown && isShownElsewhere;
    const wantsRequest = !isProven && (!state.isShown || (isOld && state.mayBeShownAgain));
    let answer: Awaited<ReturnType<typeof requestHole>> | undefined;
    if (usesRest && wantsRequest && requests < MAX_REQUESTS) {
      requests += 1;
      answer = await ifServed(series.instrument, () => requestHole(download, hole));
      usesRest = answer !== undefined;
    }
    if (answer?.state === 'filled') {
      isFilled = true;
      const rest = await downloadOnce({ ...download, onPage: () => {} }, [range]);
      result.counts = addCounts(result.counts, addCounts(answer.counts, rest.counts));
      await recordOpenGaps(session, series, rest.missing, [range]);
      result.open.push(...rest.missing);
      continue;
    }
    const isShownNow = answer?.state === 'shown';
    const proofs = [state.isShown, isShownNow, isShownElsewhere].filter(Boolean).length;
    const isEnough = usesRest ? proofs >= 2 && (state.isShown || isShownNow) : file !== undefined;
    if (isOld && isEnough) {
      await confirmGap(session, series, range, { isShownNow, file, outage });
      result.confirmed.push(range);
      continue;
    }
    if (isShownNow) await recordShown(session, series, range);
    result.open.push(range);
  }
  result.missing = isFilled
    ? await findFetchable(download, missing)
    : subtractRanges(missing, result.confirmed);
  return result;
}

/**
 * The holes that missing ranges are parts of: from one stored candle to the next, without what is
 * confirmed already.
 */
async function findHoles(
  { session, series }: Download,
  missing: readonly TimeRange[],
): Promise<Hole[]> {
  const pairs = await findNeighbours(session, series, missing);
  if (pairs.length === 0) return [];
  const confirmed = await confirmedGaps(session, series);
  return pairs.flatMap((pair) =>
    subtractRanges(missingBetween(series.interval, [pair]), confirmed).map((range) => ({
      ...pair,
      range,
    })),
  );
}
