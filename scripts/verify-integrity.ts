import { describeError, EXIT, type ExitCode, formatShort, inParallel, z } from '../lib/base/mod.ts';
import { isShutOut } from '../lib/binance/mod.ts';
import {
  type Context,
  FILTER_ARGS,
  type Filter,
  filterOptions,
  flag,
  instantOption,
  main,
  readFilter,
  type Script,
  wholeNumber,
} from '../lib/cli/mod.ts';
import {
  chooseInstruments,
  eachInstrument,
  type InstrumentResult,
  sortResults,
} from '../lib/store/mod.ts';
import {
  byWorst,
  type CheckOptions,
  checkInstrument,
  compareSeries,
  type Finding,
  type InstrumentReport,
  isAtLeast,
} from '../lib/verify/mod.ts';
import {
  type InstrumentRepair,
  isRepairable,
  type RepairTools,
  repairInstrument,
} from '../lib/verify/repair/mod.ts';
import { showFinding, showRepair, showReports } from './_findings.ts';
import { describeUndone } from './_text.ts';

interface Options extends Filter {
  fromMs: number | undefined;
  toMs: number | undefined;
  compare: number | undefined;
  repair: boolean;
  deep: boolean;
  failOn: 'error' | 'warning';
}

/** Instruments at the same time, each on a connection: PostgreSQL itself reads in parallel. */
const CONCURRENCY = 2;
/** REST pages asked for at the same time, for one instrument. */
const PAGE_CONCURRENCY = 4;

/** Checks every series of the chosen instruments; with `repair` mends what can be mended. */
export async function verifyIntegrity(options: Options, context: Context) {
  const { sql } = await context.database();
  const instruments = await chooseInstruments(sql, options);
  const reports: InstrumentReport[] = [];
  context.progress.start(instruments.length, 'instruments');
  await inParallel(instruments.entries(), CONCURRENCY, async ([index, instrument]) => {
    context.signal.throwIfAborted();
    const report = await checkInstrument(sql, instrument, checkOptions(options));
    if (options.compare !== undefined) await compare(options, context, report);
    reports[index] = report;
    context.progress.advance(1, instrument.symbol);
  });
  const runs = options.repair ? await repair(options, context, reports) : [];
  context.progress.stop();
  for (const run of runs) {
    const index = reports.findIndex(({ instrument }) => instrument.id === run.instrument.id);
    if (run.state === 'done') reports[index] = run.result.report;
  }
  return { reports, runs };
}

function checkOptions({ interval, fromMs, toMs, deep }: Options): CheckOptions {
  return { interval, fromMs, toMs, isDeep: deep };
}

/** Adds what differs between random stored candles and what the exchange sends now. */
async function compare(
  { compare: picks = 0, fromMs = 0, toMs = Number.MAX_SAFE_INTEGER }: Options,
  context: Context,
  report: InstrumentReport,
): Promise<void> {
  const database = await context.database();
  const source = await context.rest();
  const session = database.openSession();
  try {
    for (const { series, stored, findings } of report.series) {
      if (!stored) continue;
      const download = {
        source,
        session,
        series,
        signal: context.signal,
        concurrency: PAGE_CONCURRENCY,
      };
      findings.push(...(await compareSeries(download, stored, { fromMs, toMs }, picks)));
    }
  } finally {
    await session.end();
  }
}

/** Mends the instruments that have something to mend; one that fails never stops the others. */
async function repair(
  options: Options,
  context: Context,
  reports: readonly InstrumentReport[],
): Promise<InstrumentResult<InstrumentRepair>[]> {
  const findingsOf = (report: InstrumentReport) =>
    report.series.flatMap(({ findings }) => findings);
  const damaged = reports.filter((report) => findingsOf(report).some(isRepairable));
  if (damaged.length === 0) return [];
  const [database, source, bulk] = await Promise.all([
    context.database(),
    context.rest(),
    context.bulk(),
  ]);
  return await eachInstrument(
    database,
    damaged.map(({ instrument }) => instrument),
    {
      concurrency: CONCURRENCY,
      signal: context.signal,
      endsRun: isShutOut,
      onBusy: (instrument) =>
        context.log.warn(`${instrument.symbol}: skipped, another run works on it`),
      onFailed: (instrument, _, error) =>
        context.log.error(`${instrument.symbol}: ${describeError(error)}`),
    },
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
      const differing = findingsOf(damaged[index]!).filter(({ check }) => check === 'differs');
      return await repairInstrument(tools, instrument, checkOptions(options), differing);
    },
  );
}

export const script: Script<Options> = {
  name: 'verify',
  summary:
    'Is every candle there, once, and true? Exits 2 when one is not; with --repair mends what the exchange can serve',
  examples: [
    '',
    '--from 7d --quiet',
    '--symbol BTC/USDT --compare 100',
    '--repair',
    '--deep --json',
  ],
  args: {
    ...FILTER_ARGS,
    from: {
      type: 'string',
      description: 'Only open times from here on: a date, or a span back such as 7d',
    },
    to: { type: 'string', description: 'Only open times before this' },
    compare: {
      type: 'string',
      description: 'Ask the exchange for so many random candles a series, field by field',
    },
    repair: {
      type: 'boolean',
      description: 'Ask again for what is missing or odd, and store the better answer',
    },
    deep: {
      type: 'boolean',
      description: 'Hold the archive against the hashes of what was moved there',
    },
    'fail-on': {
      type: 'string',
      description: 'Exit 2 from this severity on: error or warning',
      default: 'error',
    },
  },
  options: z
    .object({
      ...filterOptions,
      from: instantOption.optional(),
      to: instantOption.optional(),
      compare: wholeNumber(1, 100_000).optional(),
      repair: flag,
      deep: flag,
      'fail-on': z.enum(['error', 'warning'], { error: 'error or warning' }).default('error'),
    })
    .transform((options, context) => {
      const { from: fromMs, to: toMs, compare, repair, deep, 'fail-on': failOn } = options;
      if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs) {
        context.addIssue({
          code: 'custom',
          message: `!--from ${formatShort(fromMs)} is not before --to ${formatShort(toMs)}; wanted the earlier one first`,
        });
      }
      return { ...readFilter(options, context), fromMs, toMs, compare, repair, deep, failOn };
    }),
  writes: ({ repair }) => repair,
  async run(options, context) {
    const { reports, runs } = await verifyIntegrity(options, context);
    const { done, busy, failed } = sortResults(runs);
    const repaired = done.flatMap((each) => each.done);
    const findings = reports
      .flatMap((report) => [...report.findings, ...report.series.flatMap((each) => each.findings)])
      .sort(byWorst);
    const failing = findings.filter((finding) => isAtLeast(finding, options.failOn));
    const text = [
      ...repaired.map(showRepair),
      showReports(reports, { withInfo: options.symbols.length > 0 }),
      ...describeUndone({ busy, failed }),
    ].join('\n');
    return {
      exitCode: exitCode(failing, runs),
      json: {
        series: reports.reduce((sum, report) => sum + report.series.length, 0),
        candles: reports.reduce(
          (sum, report) => report.series.reduce((rows, each) => rows + each.candles, sum),
          0,
        ),
        findings: findings.map(showFinding),
        repaired: repaired.map(({ series, counts }) => ({
          market: series.instrument.market,
          symbol: series.instrument.symbol,
          interval: series.interval,
          ...counts,
        })),
        busy,
        failed,
      },
      text,
    };
  },
};

function exitCode(
  failing: readonly Finding[],
  runs: readonly InstrumentResult<unknown>[],
): ExitCode {
  if (runs.some((run) => run.state === 'failed')) return EXIT.failed;
  if (failing.length > 0) return EXIT.findings;
  return runs.some((run) => run.state === 'busy') ? EXIT.later : EXIT.done;
}

await main(import.meta, script);
