import { archiveSeries, cutoffMs, type DueSeries, dueSeries } from '../lib/archive.ts';
import { beginRun, endRun, movedRows } from '../lib/archive-runs.ts';
import { archiveTableOf, prepareArchiveTable } from '../lib/archive-tables.ts';
import { main, type Script } from '../lib/cli.ts';
import type { Context } from '../lib/context.ts';
import {
  describeUndone,
  eachInstrument,
  exitCodeOf,
  sortRuns,
  type Turn,
} from '../lib/each-instrument.ts';
import { describeError, EXIT } from '../lib/errors.ts';
import { chooseInstruments, type Instrument } from '../lib/instruments.ts';
import {
  CHOICE_ARGS,
  type Choice,
  choiceOptions,
  flag,
  instantOption,
  readChoice,
  wholeNumber,
} from '../lib/options.ts';
import { formatBytes, formatCount, formatTable } from '../lib/table.ts';
import { formatShort } from '../lib/time.ts';
import { z } from '../lib/zod.ts';

interface Options extends Choice {
  cutoffMs: number;
  batchRows: number;
  dryRun: boolean;
}

/** The due candles of one table. */
export interface ArchivedTable {
  symbol: string;
  table: string;
  archive: string;
  rows: number;
  bytes: number;
}

/** Tells what a run would move. Changes nothing. */
export async function planArchive(options: Options, context: Context): Promise<ArchivedTable[]> {
  const { sql } = await context.database();
  const tables: ArchivedTable[] = [];
  for (const instrument of await chooseInstruments(sql, options)) {
    const due = await dueSeries(
      sql,
      instrument,
      options.cutoffMs,
      options.interval && [options.interval],
    );
    if (due.length === 0) continue;
    tables.push({
      ...nameTables(instrument),
      rows: sumOf(due, 'rows'),
      bytes: sumOf(due, 'bytes'),
    });
  }
  return tables;
}

/** Moves what is due, table by table; one that fails does not stop the others. */
export async function archive(options: Options, context: Context) {
  const database = await context.database();
  const instruments = await chooseInstruments(database.sql, options);
  const runId = await beginRun(database.sql, options.cutoffMs);
  let outcome: Parameters<typeof endRun>[2] = 'failed';
  try {
    const runs = await eachInstrument(
      database,
      instruments,
      {
        concurrency: 1,
        signal: context.signal,
        onHeld: ({ symbol }) => context.log.warn(`${symbol}: held by another run, skipped`),
        onFailed: ({ symbol }, _, error) => {
          context.progress.stop();
          context.log.error(`${symbol}: ${describeError(error)}`);
        },
      },
      (turn) => archiveInstrument(options, context, turn, runId),
    );
    const exitCode = exitCodeOf(runs);
    if (exitCode !== EXIT.failed) outcome = exitCode === EXIT.done ? 'done' : 'work remaining';
    // Not from the runs: one that failed in the middle has moved candles too.
    const moved = await movedRows(database.sql, runId);
    const tables = instruments
      .map((instrument) => ({ ...nameTables(instrument), rows: moved.get(instrument.id) ?? 0 }))
      .filter((table) => table.rows > 0);
    return { runs, tables };
  } catch (error) {
    if (context.signal.aborted) outcome = 'work remaining';
    throw error;
  } finally {
    await endRun(database.sql, runId, outcome);
  }
}

async function archiveInstrument(
  options: Options,
  context: Context,
  { session, instrument, signal }: Turn,
  runId: string,
): Promise<void> {
  const due = await dueSeries(
    session,
    instrument,
    options.cutoffMs,
    options.interval && [options.interval],
  );
  if (due.length === 0) return;

  await prepareArchiveTable(session, instrument);
  context.progress.start(sumOf(due, 'rows'), 'candles');
  for (const each of due) {
    const { interval } = each;
    await archiveSeries(session, { instrument, interval }, each, {
      runId,
      cutoffMs: options.cutoffMs,
      batchRows: options.batchRows,
      signal,
      onBatch: ({ movedRows, untilMs }) =>
        context.progress.advance(
          movedRows,
          `${instrument.symbol} ${interval} ${formatShort(untilMs)}`,
        ),
    });
  }
  context.progress.stop();
}

function nameTables(instrument: Instrument): Omit<ArchivedTable, 'rows' | 'bytes'> {
  return {
    symbol: instrument.symbol,
    table: instrument.tableName,
    archive: archiveTableOf(instrument),
  };
}

function sumOf(due: readonly DueSeries[], what: 'rows' | 'bytes'): number {
  return due.reduce((sum, series) => sum + series[what], 0);
}

export const script: Script<Options> = {
  name: 'archive',
  summary:
    'Moves candles older than DAYS days into the archive tables, batch by batch, each proven before it counts',
  examples: [
    '365',
    '365 --dry-run',
    '30 --symbol BTC/USDT --interval 1m',
    '365 --as-of 2024-01-01',
  ],
  args: {
    days: {
      type: 'positional',
      description: 'How many days stay in the main tables',
      required: true,
    },
    ...CHOICE_ARGS,
    'as-of': {
      type: 'string',
      valueHint: 'time',
      description: 'Count the days back from here',
      default: 'now',
    },
    batch: { type: 'string', description: 'Candles a batch holds at most', default: '10000' },
    'dry-run': { type: 'boolean', description: 'Say what would move, move nothing' },
  },
  options: z
    .object({
      _: z
        .array(z.string())
        .min(1, '!DAYS is missing; wanted a whole number of days to keep, such as 365')
        .max(1, '!More than one DAYS is given; wanted one whole number'),
      ...choiceOptions,
      'as-of': instantOption.prefault('now'),
      batch: wholeNumber(1, 1_000_000).default(10_000),
      'dry-run': flag,
    })
    .transform((options, context) => {
      const days = wholeNumber(1, 36_500).safeParse(options._[0]);
      if (!days.success) {
        context.addIssue({
          code: 'custom',
          message: `!DAYS is ${JSON.stringify(options._[0])}; wanted a whole number from 1 to 36500`,
        });
      }
      if (options['as-of'] > Date.now()) {
        context.addIssue({
          code: 'custom',
          message: `!--as-of ${formatShort(options['as-of'])} is in the future; wanted now or earlier`,
        });
      }
      return {
        ...readChoice(options, context),
        cutoffMs: cutoffMs(options['as-of'], days.data ?? 1),
        batchRows: options.batch,
        dryRun: options['dry-run'],
      };
    }),
  async run(options, context) {
    const cutoff = new Date(options.cutoffMs).toISOString();
    if (options.dryRun) {
      const tables = await planArchive(options, context);
      return { json: { dryRun: true, cutoff, tables }, text: showPlan(options.cutoffMs, tables) };
    }
    const { runs, tables } = await archive(options, context);
    const { held, failed } = sortRuns(runs);
    const rows = tables.reduce((sum, table) => sum + table.rows, 0);
    const lines = [
      ...tables.map(
        (table) => `${table.symbol}: ${formatCount(table.rows)} candles moved to ${table.archive}`,
      ),
      `${formatCount(rows)} candles from before ${formatShort(options.cutoffMs)} moved`,
      ...describeUndone({ held, failed }),
    ];
    return {
      exitCode: exitCodeOf(runs),
      json: { cutoff, rows, tables, held, failed },
      text: lines.join('\n'),
    };
  },
};

function showPlan(beforeMs: number, tables: readonly ArchivedTable[]): string {
  if (tables.length === 0) return `Nothing is older than ${formatShort(beforeMs)}.`;
  const rows = tables.map((table) => [
    table.table,
    table.archive,
    table.rows,
    formatBytes(table.bytes),
  ]);
  return `Would move what opens before ${formatShort(beforeMs)}:\n\n${formatTable(['from', 'to', 'candles', 'bytes'], rows)}`;
}

await main(import.meta, script);
