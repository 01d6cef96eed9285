import { EXIT } from '../lib/base/mod.ts';
import {
  type Context,
  defineScript,
  FILTER_OPTIONS,
  type Filter,
  main,
  option,
  readFilter,
} from '../lib/cli/mod.ts';
import { instrumentsByTable, readAccess, storeStatus } from '../lib/read/mod.ts';
import { chooseInstruments, lastRuns } from '../lib/store/mod.ts';
import {
  formatStale,
  formatStatus,
  type StatusLine,
  toJsonRun,
  toJsonSeries,
  totalBytes,
} from './_status-text.ts';

interface Options extends Filter {
  staleMs: number | undefined;
}

/** Reads what is stored, how fresh it is and how the last runs ended, without scanning candles. */
async function collectStatus(options: Options, context: Context) {
  const { sql } = await context.database();
  const nowMs = Date.now();
  const access = await readAccess(sql);
  const isByTable = !access.names.has('instruments') && options.symbols.length === 0;
  const instruments = isByTable
    ? await instrumentsByTable(sql, access)
    : await chooseInstruments(sql, options);
  const [stored, runs] = await Promise.all([
    storeStatus(sql, access, instruments, nowMs, options.interval && [options.interval]),
    access.names.has('runs') ? lastRuns(sql) : [],
  ]);
  const { staleMs = Number.POSITIVE_INFINITY } = options;
  const lines: StatusLine[] = stored.flatMap((status) =>
    status.series.map((series) => ({
      ...series,
      status,
      isStale: status.instrument.status === 'active' && series.behindMs > staleMs,
    })),
  );
  return { stored, lines, runs: runs.filter((run) => run.verb !== 'status'), nowMs };
}

export const script = defineScript({
  name: 'status',
  summary: 'Show what is stored, how fresh it is, and how the last runs ended',
  examples: ['', '--symbol BTC/USDT', '--stale 10m --quiet', '--json'],
  options: {
    ...FILTER_OPTIONS,
    stale: option.span.optional().meta({
      valueHint: 'span',
      description:
        'Show only active series that are behind by more than this, such as 10m; exit with 2 if there are any',
    }),
  },
  read: ({ stale, ...filter }, refuse) => ({ ...readFilter(filter, refuse), staleMs: stale }),
  async run(options, context) {
    const { stored, lines, runs, nowMs } = await collectStatus(options, context);
    const stale = lines.filter((line) => line.isStale);
    return {
      exitCode: stale.length > 0 ? EXIT.findings : EXIT.done,
      json: {
        series: lines.map(toJsonSeries),
        stale: stale.length,
        bytes: totalBytes(stored),
        runs: runs.map(toJsonRun),
      },
      text:
        options.staleMs === undefined
          ? formatStatus(stored, lines, runs, nowMs)
          : formatStale(lines.length, stale, options.staleMs),
    };
  },
});

await main(import.meta, script);
