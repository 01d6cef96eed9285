import { formatShort, formatTime, KlinekeepError } from '../base/mod.ts';
import {
  addSteps,
  countSlots,
  floorToGrid,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';
import {
  encoderFor,
  fetchableRanges,
  lockedTransaction,
  merge,
  type RejectedKline,
  type StoreCounts,
  type StoredSeries,
  stage,
  storeRejected,
} from '../store/mod.ts';
import { restingHoles, settleHoles } from './holes.ts';
import {
  addCounts,
  type Download,
  type Downloaded,
  downloadTwice,
  forEachPage,
  listedAtMs,
} from './pages.ts';

/** A new series of more candles than this is worth a look at when the symbol was listed. */
const LONG_LIMIT = 10_000;

export interface UpdateSeriesOptions {
  limit: number;
  /** Another run has done this a moment ago: only what is missing is filled. */
  isChecked: boolean;
  /** Ask even for holes that the exchange had too a moment ago. */
  asksAgain: boolean;
}

export interface SeriesUpdate {
  counts: StoreCounts;
  /** From the latest `limit` candles on, all up to here is stored, or a gap of the exchange. Unix ms. */
  completeUntilMs: number;
}

/**
 * Brings one series from its last stored candle to the last closed one, and fills what is
 * missing among the latest `limit`, or since it was last known to be complete. The last two stored
 * candles are asked for again: Binance may still have corrected them. A hole that the exchange has
 * too is asked for less and less often, and becomes a confirmed gap when it is a day old.
 * @param stored undefined: a new series, which begins with the latest `limit` candles
 */
export async function updateSeries(
  download: Download,
  stored: StoredSeries | undefined,
  { limit, isChecked, asksAgain }: UpdateSeriesOptions,
): Promise<SeriesUpdate> {
  const { series, session } = download;
  const { interval } = series;
  const endMs = await formingOpenMs(download);
  const latestMs = await latestFromMs(download, stored, endMs, limit);
  if (!stored) {
    const begun = await downloadTwice(download, [{ fromMs: latestMs, toMs: endMs }]);
    return { counts: begun.counts, completeUntilMs: await settleHoles(download, begun, endMs) };
  }
  const rereadMs = floorToGrid(interval, stored.secondLastMs);
  const completeUntilMs = Math.max(stored.completeUntilMs ?? latestMs, stored.firstMs);
  const holesFromMs = Math.min(latestMs, completeUntilMs);
  const holes = await fetchableRanges(session, series, { fromMs: holesFromMs, toMs: rereadMs });
  const resting = asksAgain || holes.length === 0 ? [] : await restingHoles(session, series);
  const asked = subtractRanges(holes, resting);
  const filled = await downloadTwice(download, asked);
  const tail = isChecked
    ? { counts: NOTHING, missing: [], lackedTwice: [], hasSent: false }
    : await downloadTwice(download, [{ fromMs: rereadMs, toMs: endMs }]);
  const both: Downloaded = {
    counts: addCounts(filled.counts, tail.counts),
    missing: [...filled.missing, ...subtractRanges(holes, asked), ...tail.missing],
    lackedTwice: [...filled.lackedTwice, ...tail.lackedTwice],
    // Of the last two candles we know that the exchange has them. When not even they come, an
    // answer without others says nothing.
    hasSent: tail.hasSent,
  };
  const reachedMs = isChecked ? rereadMs : endMs;
  return { counts: both.counts, completeUntilMs: await settleHoles(download, both, reachedMs) };
}

const NOTHING: StoreCounts = { inserted: 0, revised: 0, rejected: 0 };

/** Where the latest `limit` candles begin, Unix ms: not before 1970, nor before the listing. */
async function latestFromMs(
  download: Download,
  stored: StoredSeries | undefined,
  endMs: number,
  limit: number,
): Promise<number> {
  const { interval } = download.series;
  const fromMs = addSteps(
    interval,
    endMs,
    -Math.min(limit, countSlots(interval, { fromMs: 0, toMs: endMs })),
  );
  const reachesBack = stored ? fromMs < stored.firstMs : limit > LONG_LIMIT;
  if (!reachesBack) return fromMs;
  return Math.max(fromMs, floorToGrid(interval, (await listedAtMs(download)) ?? fromMs));
}

/**
 * Downloads again what is stored of the latest `limit` candles, or all that klines holds of the
 * series, and puts it in place of the stored candles in one transaction after the last page has
 * arrived. Readers see the old candles or the new ones. What is archived is left alone, and what
 * comes after the last stored candle is left to `updateSeries`.
 * @throws KlinekeepError (1) when the answer lacks a candle that is stored: nothing changes
 */
export async function replaceSeries(
  download: Download,
  stored: StoredSeries,
  limit: number | undefined,
): Promise<StoreCounts> {
  const { series, session } = download;
  const { instrument, interval } = series;
  const endMs = await formingOpenMs(download);
  const toMs = Math.min(endMs, addSteps(interval, floorToGrid(interval, stored.lastMs), 1));
  const fromMs =
    limit === undefined
      ? floorToGrid(interval, stored.firstHotMs ?? toMs)
      : await latestFromMs(download, stored, endMs, limit);
  if (fromMs >= toMs) return NOTHING;
  const range = { fromMs, toMs };

  const rejected: RejectedKline[] = [];
  await runSql(session, 'store/create_staging.sql');
  await forEachPage(download, [range], async (page, slots) => {
    const encoder = encoderFor(series, page);
    await stage(session, encoder);
    for (const each of encoder.rejected) rejected.push(each);
    download.onPage?.({
      slots,
      untilMs: page.asked.toMs,
      counts: { inserted: 0, revised: 0, rejected: 0 },
    });
  });

  return await lockedTransaction(session, instrument.id, '', async (tx) => {
    await refuseLackingAnswer(series, range, tx);
    const [staged] = await tx`select exists (select from staged_klines) as any`;
    if (!staged?.any) return { inserted: 0, revised: 0, rejected: 0 };
    const counts = await merge(tx, series);
    await storeRejected(tx, series, 'rest', rejected);
    return { ...counts, rejected: rejected.length };
  });
}

async function refuseLackingAnswer(
  { instrument, interval }: Series,
  range: TimeRange,
  tx: Sql,
): Promise<void> {
  const [found] = await runSql<{
    stored_rows: number;
    lacking_rows: number;
    first_lacking_time: Date | null;
  }>(tx, 'download/compare_staged.sql', {
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
  });
  if (!found?.first_lacking_time) return;
  throw new KlinekeepError(
    'failed',
    `Binance's answer lacks ${found.lacking_rows} of the ${found.stored_rows} candles stored from ` +
      `${formatShort(range.fromMs)} to ${formatShort(range.toMs)}, the first of them at ` +
      `${formatTime(found.first_lacking_time.getTime())}. Nothing was replaced.`,
    { hint: 'Run it again later; verify checks what is stored.' },
  );
}

/** The open time of the candle that is still forming by the exchange's clock, Unix ms. */
async function formingOpenMs({ source, series }: Download): Promise<number> {
  return floorToGrid(series.interval, await source.serverTimeMs(series.instrument.market));
}
