/** What the script verify does: check, compare, repair. */
import { describeError, inParallel } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import type { Context, Filter } from '../lib/cli/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import { chooseInstruments, eachInstrument, type InstrumentResult } from '../lib/store/mod.ts';
import {
  type CheckOptions,
  checkInstrument,
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
import { compareRandom, compareWithFiles } from './_compare.ts';
import { recheck } from './_recheck.ts';

export interface VerifyOptions extends Filter, Omit<CheckOptions, 'interval'> {
  /** Candles to compare in each series. */
  compare?: number | undefined;
  /** Compare published bulk files with the stored candles. */
  files: boolean;
  repair: boolean;
  /** Confirmed gaps to request again, in all series together. */
  recheckGaps?: number | undefined;
}

/** Instruments checked at the same time, each on a connection. PostgreSQL itself reads in parallel. */
const CONCURRENCY = 2;
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
  const policy = { concurrency: CONCURRENCY, ...reactions(context) };
  const rechecks = await recheck(options.recheckGaps ?? 0, options, context, instruments, policy);
  const reports: InstrumentReport[] = [];
  context.progress.start(instruments.length, 'instruments');
  await inParallel(instruments.entries(), CONCURRENCY, async ([index, instrument]) => {
    context.signal.throwIfAborted();
    const report = await checkInstrument(sql, instrument, options);
    if (options.compare !== undefined)
      await compareRandom(options.compare, options, context, report);
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
