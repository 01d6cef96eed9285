import { describeError } from '../base/mod.ts';
import { type RestSource, ShutOutError, UnknownSymbolError } from '../binance/mod.ts';
import { addSteps, countSlots, floorToGrid, type Interval } from '../market/mod.ts';
import { isLockTableFull } from '../postgres/mod.ts';
import {
  doubtInstrument,
  endInstrument,
  recordCheck,
  type StoreCounts,
  type StoredSeries,
  storedSeries,
  type Task,
} from '../store/mod.ts';
import { addCounts, type Download } from './pages.ts';
import { replaceSeries, updateSeries } from './update-series.ts';

export interface UpdateOptions {
  /** Undefined: all that are stored. */
  interval: Interval | undefined;
  /** Undefined: the default, or all with `force`. */
  limit: number | undefined;
  force: boolean;
  /** By the database's clock, Unix ms: what another run has brought up to date since is done. */
  startedMs: number;
}

/** How many of the latest candles a series must have when nobody says. */
export const DEFAULT_LIMIT = 100;
/** One page is asked for while another one is stored. */
const PAGE_CONCURRENCY = 2;
/** A series that is behind by more closed candles after an update has stopped. */
const STALLED_CANDLES = 2;

export interface UpdatedSeries extends StoreCounts {
  symbol: string;
  interval: Interval;
  requests: number;
  seconds: number;
  /** The exchange has sent nothing new although candles should have closed. */
  isStalled: boolean;
}

const NOTHING = {
  ...{ inserted: 0, revised: 0, rejected: 0 },
  ...{ requests: 0, seconds: 0, isStalled: false },
};

/** What was done of one instrument. */
export interface UpdatedInstrument {
  series: UpdatedSeries[];
  /** `symbol` names the series: `BTC/USDT 1m`. */
  failed: { symbol: string; error: string }[];
}

export interface UpdateListener {
  onDone: (series: UpdatedSeries) => void;
  onFailed: (series: string, error: unknown) => void;
}

/**
 * Updates the series of one instrument; one that fails does not stop its others. An instrument
 * that was delisted is brought to its last candle, once. One that the exchange does not know any
 * more, or that stands still, is marked for the next run to look up.
 * @throws what went wrong when there is only one series; ShutOutError; the signal's reason
 */
export async function updateInstrument(
  source: RestSource,
  turn: Task,
  options: UpdateOptions,
  { onDone, onFailed }: UpdateListener,
): Promise<UpdatedInstrument> {
  const { session, instrument, signal } = turn;
  const isActive = instrument.status === 'active';
  const stored = await storedSeries(session, instrument, options.interval && [options.interval]);
  const intervals =
    options.interval && isActive ? [options.interval] : stored.map((series) => series.interval);
  const updated: UpdatedInstrument = { series: [], failed: [] };
  for (const interval of intervals) {
    const known = stored.find((series) => series.interval === interval);
    try {
      const series = await updateOne(source, turn, interval, known, options);
      updated.series.push(series);
      onDone(series);
    } catch (error) {
      const isGone = error instanceof UnknownSymbolError;
      if (isGone && !isActive) {
        // It went before its last candles were asked for: there is no more to have.
        updated.series.push({ ...NOTHING, symbol: instrument.symbol, interval });
        continue;
      }
      if (isGone) await doubtInstrument(session, instrument);
      if (intervals.length === 1 || signal.aborted || error instanceof ShutOutError) throw error;
      // The whole instrument is tried again.
      if (isLockTableFull(error)) throw error;
      const name = `${instrument.symbol} ${interval}`;
      updated.failed.push({ symbol: name, error: describeError(error) });
      onFailed(name, error);
    }
  }
  if (updated.series.some((series) => series.isStalled)) await doubtInstrument(session, instrument);
  if (!isActive && !options.interval && updated.failed.length === 0)
    await endInstrument(session, instrument);
  return updated;
}

async function updateOne(
  source: RestSource,
  { session, instrument, signal }: Task,
  interval: Interval,
  stored: StoredSeries | undefined,
  options: UpdateOptions,
): Promise<UpdatedSeries> {
  const startedMs = performance.now();
  let requests = 0;
  const download: Download = {
    source,
    session,
    series: { instrument, interval },
    signal,
    concurrency: PAGE_CONCURRENCY,
    onRequest: () => {
      requests += 1;
    },
  };
  const { limit = DEFAULT_LIMIT } = options;
  const isChecked = (stored?.checkedAtMs ?? 0) > options.startedMs;
  const replaced =
    options.force && stored
      ? await replaceSeries(download, stored, options.limit)
      : { inserted: 0, revised: 0, rejected: 0 };
  const update = await updateSeries(download, stored, {
    limit,
    isChecked,
    // Who has left is asked once more, and then never again.
    asksAgain: options.force || instrument.status !== 'active',
  });
  const counts = addCounts(replaced, update.counts);
  const tookMs = performance.now() - startedMs;
  await recordCheck(session, download.series, tookMs, update.completeUntilMs);
  const seconds = Number((tookMs / 1000).toFixed(3));
  const isStalled =
    instrument.status === 'active' &&
    !isChecked &&
    counts.inserted === 0 &&
    stored !== undefined &&
    (await candlesBehind(download, stored)) > STALLED_CANDLES;
  return { symbol: instrument.symbol, interval, ...counts, requests, seconds, isStalled };
}

/** How many candles have closed since the last one that is stored. */
async function candlesBehind(
  { source, series: { instrument, interval } }: Download,
  stored: StoredSeries,
): Promise<number> {
  const formingMs = floorToGrid(interval, await source.serverTimeMs(instrument.market));
  const nextMs = addSteps(interval, floorToGrid(interval, stored.lastMs), 1);
  return nextMs < formingMs ? countSlots(interval, { fromMs: nextMs, toMs: formingMs }) : 0;
}
