import { type LoggedBatch, type LoggedRun, latestRuns, listBatches } from '../lib/archive/mod.ts';
import {
  formatCount,
  formatDuration,
  formatShort,
  formatTable,
  KlinekeepError,
} from '../lib/base/mod.ts';
import { defineScript, main, option, readSymbols } from '../lib/cli/mod.ts';
import { findInstruments } from '../lib/store/mod.ts';

export const script = defineScript({
  name: 'archive-log',
  summary: 'List the runs of archive and restore: when, by whom, time range, candles and outcome',
  examples: ['', '--limit 100', '--symbol BTC/USDT', '--run 12'],
  options: {
    symbol: option.text
      .optional()
      .describe('Only runs that moved candles of these symbols (comma-separated)'),
    market: option.market.optional().describe('Market of symbols such as BTCUSDT: spot or usdm'),
    limit: option
      .wholeNumber(1, 100_000)
      .default(20)
      .describe('How many runs to list, the latest first'),
    run: option
      .wholeNumber(1)
      .optional()
      .meta({ valueHint: 'id', description: 'List the batches of this run' }),
  },
  read: ({ symbol, market, limit, run }, refuse) => ({
    symbols: symbol === undefined ? [] : readSymbols([symbol], market, refuse),
    limit,
    run,
  }),
  async run(options, context) {
    const { sql } = await context.database();
    if (options.run !== undefined) {
      const [run] = await latestRuns(sql, { id: options.run, limit: 1 });
      if (run === undefined) {
        throw new KlinekeepError('data', `Cannot find run ${options.run} of archive or restore.`, {
          hint: 'archive-log without --run lists the latest runs.',
        });
      }
      const batches = await listBatches(sql, run.id);
      return {
        json: { run, batches },
        text: `${formatRuns([run])}\n\n${formatBatches(batches)}`,
      };
    }
    const instruments =
      options.symbols.length > 0 ? await findInstruments(sql, options.symbols) : [];
    const runs = await latestRuns(sql, { instruments, limit: options.limit });
    return {
      json: { runs },
      text: runs.length === 0 ? 'No archive or restore run found.' : formatRuns(runs),
    };
  },
});

const formatDate = (date: Date) => formatShort(date.getTime());

function formatRuns(runs: readonly LoggedRun[]): string {
  const rows = runs.map((run) => [
    Number(run.id),
    run.verb,
    formatDate(run.startedAt),
    `${run.startedBy}@${run.host}`,
    `${run.from ? `${formatDate(run.from)} ` : ''}to ${formatDate(run.to)}`,
    run.movedRows,
    run.batches,
    run.conflictRows,
    run.finishedAt ? formatDuration(run.finishedAt.getTime() - run.startedAt.getTime()) : '',
    run.outcome ?? 'running or killed',
  ]);
  const head = 'run,verb,started (UTC),by,range,candles,batches,conflicts,took,outcome'.split(',');
  const details = runs.flatMap((run) =>
    run.detail ? [`\nrun ${run.id}: ${run.detail.replaceAll('\n', `\nrun ${run.id}: `)}`] : [],
  );
  return `${formatTable(head, rows)}${details.length > 0 ? `\n${details.join('')}` : ''}`;
}

function formatBatches(batches: readonly LoggedBatch[]): string {
  const rows = batches.map((batch) => [
    batch.symbol,
    batch.interval,
    formatDate(batch.from),
    formatDate(batch.to),
    batch.movedRows,
    batch.equalRows,
    batch.conflictRows,
    `${formatCount(batch.durationMs)} ms`,
    batch.contentHash,
  ]);
  const head = 'symbol,interval,from,to,candles,equal,conflicts,took,content hash'.split(',');
  return formatTable(head, rows);
}

await main(import.meta, script);
