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
import { formatRepair, formatReports, toJsonFinding } from './_findings.ts';
import { formatUndone } from './_text.ts';

interface Options extends Filter, Omit<CheckOptions, 'interval'> {
  /** Candles to compare in each series. */
  compare: number | undefined;
  repair: boolean;
  failOn: 'error' | 'warning';
}

/** Instruments checked at the same time, each on a connection. PostgreSQL itself reads in parallel. */
const CONCURRENCY = 2;
/** REST pages requested at the same time for one instrument. */
const PAGE_CONCURRENCY = 4;

/**
 * Checks every series of the chosen instruments, and repairs what it can if `repair` is set.
 * @returns what is wrong with each instrument at the end, and how the repairs went
 */
export async function verifyIntegrity(options: Options, context: Context) {
  const { sql } = await context.database();
  const instruments = await chooseInstruments(sql, options);
  const reports: InstrumentReport[] = [];
  context.progress.start(instruments.length, 'instruments');
  await inParallel(instruments.entries(), CONCURRENCY, async ([index, instrument]) => {
    context.signal.throwIfAborted();
    const report = await checkInstrument(sql, instrument, options);
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

/** Adds findings about random stored candles that differ from what Binance sends now. */
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
      const { signal } = context;
      const download = { source, session, series, signal, concurrency: PAGE_CONCURRENCY };
      findings.push(...(await compareSeries(download, stored, { fromMs, toMs }, picks)));
    }
  } finally {
    await session.end();
  }
}

/** Repairs the damaged instruments. One that fails does not stop the others. */
async function repair(
  options: Options,
  context: Context,
  reports: readonly InstrumentReport[],
): Promise<InstrumentResult<InstrumentRepair>[]> {
  const damaged = reports.filter(({ series }) =>
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
    {
      concurrency: CONCURRENCY,
      signal: context.signal,
      endsRun: isShutOut,
      onBusy: ({ symbol }) => context.log.warn(`${symbol}: skipped, another run has locked it`),
      onFailed: ({ symbol }, _, error) => context.log.error(`${symbol}: ${describeError(error)}`),
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
      const differing = damaged[index]!.series.flatMap(({ findings }) => findings).filter(
        ({ check }) => check === 'differs',
      );
      return await repairInstrument(tools, instrument, options, differing);
    },
  );
}

export const script: Script<Options> = {
  name: 'verify',
  summary:
    'Check that each series is complete, without duplicates or invalid candles. Exit with 2 if not. --repair fixes what it can',
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
      description: 'Check open times from this time on: a date, or a span before now such as 7d',
    },
    to: { type: 'string', description: 'Check open times before this' },
    compare: {
      type: 'string',
      description: 'Compare this many random candles per series with Binance, field by field',
    },
    repair: {
      type: 'boolean',
      description: 'Request missing and odd candles again, and store what Binance sends',
    },
    deep: {
      type: 'boolean',
      description: 'Re-hash the archive and compare it with the batch log',
    },
    'fail-on': {
      type: 'string',
      description: 'Exit with 2 for findings of this severity or worse: error or warning',
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
      const { from: fromMs, to: toMs, compare, repair, deep: isDeep } = options;
      if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs) {
        context.addIssue({
          code: 'custom',
          message: `--from ${formatShort(fromMs)} is not before --to ${formatShort(toMs)}; wanted the earlier one first`,
        });
      }
      const failOn = options['fail-on'];
      return { ...readFilter(options, context), fromMs, toMs, compare, repair, isDeep, failOn };
    }),
  writes: ({ repair }) => repair,
  async run(options, context) {
    const { reports, runs } = await verifyIntegrity(options, context);
    const { done, busy, failed } = sortResults(runs);
    const repaired = done.flatMap((each) => each.done);
    const series = reports.flatMap((report) => report.series);
    const findings = [...reports, ...series].flatMap((each) => each.findings).sort(byWorst);
    const failing = findings.filter((finding) => isAtLeast(finding, options.failOn));
    return {
      exitCode: exitCode(failing, runs),
      json: {
        series: series.length,
        candles: series.reduce((sum, each) => sum + each.candles, 0),
        findings: findings.map(toJsonFinding),
        repaired: repaired.map(({ series: { instrument, interval }, counts }) => ({
          market: instrument.market,
          symbol: instrument.symbol,
          interval,
          ...counts,
        })),
        busy,
        failed,
      },
      text: [
        ...repaired.map(formatRepair),
        formatReports(reports, { withInfo: options.symbols.length > 0 }),
        ...formatUndone({ busy, failed }),
      ].join('\n'),
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
