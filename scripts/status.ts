import {
  EXIT,
  formatCount,
  formatRough,
  formatShort,
  formatSpan,
  formatTable,
  formatTime,
  z,
} from '../lib/base/mod.ts';
import {
  type Context,
  FILTER_ARGS,
  type Filter,
  filterOptions,
  main,
  readFilter,
  type Script,
  spanOption,
} from '../lib/cli/mod.ts';
import {
  type InstrumentStatus,
  instrumentsByTable,
  readAccess,
  type SeriesStatus,
  storeStatus,
} from '../lib/read/mod.ts';
import { chooseInstruments, lastRuns, type Run } from '../lib/store/mod.ts';

const WIDTH = 80;

interface Options extends Filter {
  staleMs: number | undefined;
}

export interface StatusLine extends SeriesStatus {
  status: InstrumentStatus;
  /** Followed, and behind by more than `--stale` allows. */
  isStale: boolean;
}

/** What is stored, how fresh it is, and how the last runs ended. Reads no candles but the outermost. */
export async function status(options: Options, context: Context) {
  const { sql } = await context.database();
  const nowMs = Date.now();
  const access = await readAccess(sql);
  const isNameless = !access.has('instruments') && options.symbols.length === 0;
  const instruments = isNameless
    ? await instrumentsByTable(sql, access)
    : await chooseInstruments(sql, options);
  const [stored, runs] = await Promise.all([
    storeStatus(sql, instruments, nowMs, options.interval && [options.interval]),
    access.has('runs') ? lastRuns(sql) : [],
  ]);
  const lines: StatusLine[] = stored.flatMap((each) =>
    each.series.map((series) => ({
      ...series,
      status: each,
      isStale:
        options.staleMs !== undefined &&
        each.instrument.status === 'active' &&
        series.behindMs > options.staleMs,
    })),
  );
  return { stored, lines, runs: runs.filter((run) => run.verb !== 'status'), nowMs };
}

export const script: Script<Options> = {
  name: 'status',
  summary: 'What is stored, how fresh it is, and how the last runs ended',
  examples: ['', '--symbol BTC/USDT', '--stale 10m --quiet', '--json'],
  args: {
    ...FILTER_ARGS,
    stale: {
      type: 'string',
      valueHint: 'span',
      description: 'Show only what is further behind, such as 10m, and exit with 2 if there is any',
    },
  },
  options: z
    .object({ ...filterOptions, stale: spanOption.optional() })
    .transform((options, context) => ({
      ...readFilter(options, context),
      staleMs: options.stale,
    })),
  async run(options, context) {
    const { stored, lines, runs, nowMs } = await status(options, context);
    const stale = lines.filter((line) => line.isStale);
    return {
      exitCode: stale.length > 0 ? EXIT.findings : EXIT.done,
      json: {
        series: lines.map(describeSeries),
        stale: stale.length,
        bytes: totalBytes(stored),
        runs: runs.map(describeRun),
      },
      text:
        options.staleMs === undefined
          ? showAll(stored, lines, runs, nowMs)
          : showStale(lines.length, stale, options.staleMs),
    };
  },
};

function describeSeries(line: StatusLine) {
  const { instrument, bytes } = line.status;
  return {
    symbol: instrument.symbol,
    market: instrument.market,
    status: instrument.status,
    interval: line.interval,
    first: formatTime(line.firstMs),
    last: formatTime(line.lastMs),
    behindSeconds: Math.round(line.behindMs / 1000),
    isStale: line.isStale,
    estimatedRows: line.rows,
    /** Of all series of the instrument: they share a table. */
    tableBytes: bytes,
    gaps: { candles: line.gapCandles, spans: line.gaps.length },
  };
}

function describeRun({ startedMs, finishedMs, ...run }: Run) {
  return {
    ...run,
    started: formatTime(startedMs),
    finished: finishedMs === undefined ? null : formatTime(finishedMs),
  };
}

function totalBytes(stored: readonly InstrumentStatus[]) {
  const sum = (tier: 'hot' | 'archive') => stored.reduce((all, each) => all + each.bytes[tier], 0);
  return { hot: sum('hot'), archive: sum('archive') };
}

function showAll(
  stored: readonly InstrumentStatus[],
  lines: readonly StatusLine[],
  runs: readonly Run[],
  nowMs: number,
): string {
  if (lines.length === 0)
    return ['Nothing is stored yet. Start with fetch.', showRuns(runs, nowMs)]
      .filter((text) => text !== '')
      .join('\n\n');
  const bytes = totalBytes(stored);
  const total = `${formatCount(lines.length)} series of ${formatCount(stored.length)} ${stored.length === 1 ? 'instrument' : 'instruments'}, ${formatRough(bytes.hot)}B and ${formatRough(bytes.archive)}B archived`;
  return [showSeries(lines), total, showRuns(runs, nowMs)]
    .filter((text) => text !== '')
    .join('\n\n');
}

function showStale(count: number, stale: readonly StatusLine[], staleMs: number): string {
  const allowed = formatSpan(staleMs);
  if (stale.length === 0)
    return `${formatCount(count)} series, none behind by more than ${allowed}`;
  return `${formatCount(stale.length)} of ${formatCount(count)} series are behind by more than ${allowed}:\n\n${showSeries(stale)}`;
}

function showSeries(lines: readonly StatusLine[]): string {
  const rows = lines.map((line, index) => {
    const { instrument, bytes } = line.status;
    const isFirst = lines[index - 1]?.status !== line.status;
    const rough = (rows: number) => (rows === 0 ? '' : `~${formatRough(rows)}`);
    return [
      instrument.symbol,
      line.interval,
      formatTime(line.firstMs).slice(0, 10),
      formatTime(line.lastMs).slice(0, 10),
      instrument.status === 'delisted'
        ? 'ended'
        : line.behindMs === 0
          ? 'no'
          : formatSpan(line.behindMs),
      rough(line.rows.hot),
      rough(line.rows.archive),
      isFirst ? `${formatRough(bytes.hot + bytes.archive)}B` : '',
      line.gapCandles === 0 ? '' : formatRough(line.gapCandles),
    ];
  });
  const head = ['symbol', 'int', 'first', 'last', 'behind', 'hot', 'archive', 'bytes', 'gaps'];
  return formatTable(head, rows, { right: [4, 5, 6, 7, 8], maxWidth: WIDTH });
}

function showRuns(runs: readonly Run[], nowMs: number): string {
  if (runs.length === 0) return '';
  const rows = runs.map((run) => [
    run.verb,
    formatShort(run.startedMs),
    run.finishedMs === undefined
      ? formatSpan(nowMs - run.startedMs)
      : formatSpan(run.finishedMs - run.startedMs),
    describeOutcome(run),
  ]);
  return formatTable(['last run of', 'began (UTC)', 'took', 'outcome'], rows, {
    right: [2],
    maxWidth: WIDTH,
  });
}

function describeOutcome({ outcome, message, counts }: Run): string {
  if (outcome === undefined) return 'running, or killed';
  if (message !== undefined) return `${outcome}: ${message.split('\n')[0]}`;
  const told = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${formatCount(count)} ${name}`);
  return told.length === 0 ? outcome : `${outcome}: ${told.join(', ')}`;
}

await main(import.meta, script);
