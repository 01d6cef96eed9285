/** What the script verify does: check, compare, repair. */
import { describeError, inParallel } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import type { Context, Filter } from '../lib/cli/mod.ts';
import { type RecheckCounts, recheckGaps } from '../lib/download/mod.ts';
import { INTERVALS, type Instrument } from '../lib/market/mod.ts';
import {
  canRecordComparisons,
  chooseInstruments,
  eachInstrument,
  type InstrumentResult,
  longestUnaskedGaps,
} from '../lib/store/mod.ts';
import {
  type CheckOptions,
  checkInstrument,
  compareFiles,
  compareSeries,
  ExchangeClock,
  type InstrumentReport,
} from '../lib/verify/mod.ts';
import {
  type DifferingFiles,
  type InstrumentRepair,
  isRepairable,
  type RepairTools,
  repairInstrument,
} from '../lib/verify/repair/mod.ts';

export interface VerifyOptions extends Filter, Omit<CheckOptions, 'interval'> {
  /** Candles to compare in each series. */
  compare?: number | undefined;
  /** Compare published bulk files with the stored candles. */
  files: boolean;
  repair: boolean;
  /** Confirmed gaps to request again, in all series together. */
  recheckGaps?: number | undefined;
}

/** What requesting confirmed gaps again has led to. */
export interface Rechecked extends RecheckCounts {
  /** Candles that were stored. */
  filled: number;
}

/** Instruments checked at the same time, each on a connection. PostgreSQL itself reads in parallel. */
const CONCURRENCY = 2;
/** Instruments whose files are compared at the same time: enough to wait for several downloads. */
const FILES_CONCURRENCY = 4;
/** An update works on an instrument for about a second: a repair at night must not skip it for that. */
const PATIENCE_MS = 3_000;
/** How long to wait for the exchange's clock. */
const CLOCK_WITHIN_MS = 3_000;
const NO_FILES = { compared: 0, differing: new Map<number, DifferingFiles[]>() };
/** REST pages requested at the same time for one instrument. */
const PAGE_CONCURRENCY = 4;

/**
 * Checks every series of the chosen instruments, and repairs what it can if `repair` is set.
 * @returns what is wrong with each instrument at the end, and how the repairs went
 */
export async function verifyIntegrity(chosen: VerifyOptions, context: Context) {
  const { sql } = await context.database();
  const clock = new ExchangeClock(sql, async (market) => {
    const timeMs = await context.exchangeTimeMs(market, CLOCK_WITHIN_MS);
    if (timeMs === undefined)
      context.log.warn(
        "Cannot reach Binance's clock: the database's clock decides which candles have closed.",
      );
    return timeMs;
  });
  const options = { ...chosen, clock };
  const instruments = await chooseInstruments(sql, options);
  const rechecks = await recheck(options, context, instruments);
  const reports: InstrumentReport[] = [];
  context.progress.start(instruments.length, 'instruments');
  await inParallel(instruments.entries(), CONCURRENCY, async ([index, instrument]) => {
    context.signal.throwIfAborted();
    const report = await checkInstrument(sql, instrument, options);
    if (options.compare !== undefined) await compare(options, context, report);
    reports[index] = report;
    context.progress.advance(1, instrument.symbol);
  });
  const { compared, differing } = options.files
    ? await compareWithFiles(options, context, reports)
    : NO_FILES;
  const runs = options.repair ? await repair(options, context, reports, differing) : [];
  for (const run of runs) {
    const index = reports.findIndex(({ instrument }) => instrument.id === run.instrument.id);
    if (run.state === 'done') reports[index] = run.result.report;
  }
  return { reports, runs, rechecks, filesCompared: compared };
}

/** Requests confirmed gaps again, those first that were not requested for the longest time. */
async function recheck(
  { recheckGaps: limit = 0, ...range }: VerifyOptions,
  context: Context,
  instruments: readonly Instrument[],
): Promise<InstrumentResult<Rechecked>[]> {
  if (limit === 0) return [];
  const database = await context.database();
  const ids = instruments.map(({ id }) => id);
  const gaps = await longestUnaskedGaps(database.sql, ids, range, limit);
  const concerned = instruments.filter(({ id }) => gaps.some((gap) => gap.instrumentId === id));
  if (concerned.length === 0) return [];
  const source = await context.rest();
  return await eachInstrument(
    database,
    concerned,
    { concurrency: CONCURRENCY, ...reactions(context) },
    async ({ session, instrument, signal }) => {
      const total: Rechecked = { shown: 0, forgotten: 0, unclear: 0, filled: 0 };
      for (const interval of INTERVALS) {
        const own = gaps.filter(
          (gap) => gap.instrumentId === instrument.id && gap.interval === interval,
        );
        const download = { source, session, series: { instrument, interval }, signal };
        const { counts, rechecked } = await recheckGaps(download, own);
        total.shown += rechecked.shown;
        total.forgotten += rechecked.forgotten;
        total.unclear += rechecked.unclear;
        total.filled += counts.inserted;
      }
      return total;
    },
  );
}

/** What happens when an instrument is busy or fails. */
function reactions({ signal, log }: Context) {
  return {
    signal,
    endsRun: isShutOut,
    onBusy: ({ symbol }: Instrument) => log.warn(`${symbol}: skipped, another run has locked it`),
    onFailed: ({ symbol }: Instrument, _: number, error: unknown) =>
      log.error(`${symbol}: ${describeError(error)}`),
  };
}

/** Adds findings about random stored candles that differ from what Binance sends now. */
async function compare(
  { compare: picks = 0, fromMs = 0, toMs = Number.MAX_SAFE_INTEGER }: VerifyOptions,
  context: Context,
  report: InstrumentReport,
): Promise<void> {
  const database = await context.database();
  const source = await context.rest();
  const session = database.openSession();
  try {
    for (const { series, stored, findings } of report.series) {
      if (!stored) continue;
      const { signal } = context;
      const download = { source, session, series, signal, concurrency: PAGE_CONCURRENCY };
      findings.push(...(await compareSeries(download, stored, { fromMs, toMs }, picks)));
    }
  } finally {
    await session.end();
  }
}

/**
 * Adds findings about candles that differ from published bulk files.
 * @returns how many files were compared, and what was found in each instrument, by its id
 */
async function compareWithFiles(
  { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER }: VerifyOptions,
  context: Context,
  reports: readonly InstrumentReport[],
): Promise<{ compared: number; differing: Map<number, DifferingFiles[]> }> {
  const [{ sql }, source, bulk] = await Promise.all([
    context.database(),
    context.rest(),
    context.bulk(),
  ]);
  const sources = { source, bulk, signal: context.signal };
  const records = await canRecordComparisons(sql);
  const differing = new Map<number, DifferingFiles[]>();
  let compared = 0;
  context.progress.start(reports.length, 'instruments with files');
  await inParallel(reports, FILES_CONCURRENCY, async ({ instrument, series }) => {
    const found: DifferingFiles[] = [];
    for (const report of series) {
      const files = await compareFiles(sql, sources, report, { fromMs, toMs }, records);
      compared += files.compared;
      report.findings.push(...files.findings);
      found.push({ report, files: files.differing, settled: files.settled });
    }
    differing.set(instrument.id, found);
    context.progress.advance(1, instrument.symbol);
  });
  return { compared, differing };
}

/** Repairs the damaged instruments. One that fails does not stop the others. */
async function repair(
  options: VerifyOptions,
  context: Context,
  reports: readonly InstrumentReport[],
  differingFiles: ReadonlyMap<number, DifferingFiles[]>,
): Promise<InstrumentResult<InstrumentRepair>[]> {
  const damaged = reports.filter(
    ({ instrument, series }) =>
      differingFiles.get(instrument.id)?.some(({ files }) => files.length > 0) ||
      series.some(({ findings }) => findings.some(isRepairable)),
  );
  if (damaged.length === 0) return [];
  const [database, source, bulk] = await Promise.all([
    context.database(),
    context.rest(),
    context.bulk(),
  ]);
  return await eachInstrument(
    database,
    damaged.map(({ instrument }) => instrument),
    { concurrency: CONCURRENCY, patienceMs: PATIENCE_MS, ...reactions(context) },
    async ({ session, instrument, index, signal, openHelper }) => {
      const tools: RepairTools = {
        source,
        bulk,
        session,
        signal,
        openHelper,
        concurrency: PAGE_CONCURRENCY,
        onBadFile: (error) => context.log.warn(error.message),
      };
      const differing = damaged[index]!.series.flatMap(({ findings }) => findings).filter(
        ({ check }) => check === 'differs',
      );
      const files = differingFiles.get(instrument.id);
      return await repairInstrument(tools, instrument, options, differing, files);
    },
  );
}
