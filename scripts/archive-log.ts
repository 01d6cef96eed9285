import { batchesOf, type LoggedBatch, type LoggedRun, latestRuns } from '../lib/archive/mod.ts';
import {
  EXIT,
  formatCount,
  formatDuration,
  formatShort,
  formatTable,
  KlinekeepError,
  z,
} from '../lib/base/mod.ts';
import { main, marketOption, readSymbols, type Script, wholeNumber } from '../lib/cli/mod.ts';
import type { SymbolName } from '../lib/market/mod.ts';
import { findInstruments } from '../lib/store/mod.ts';

interface Options {
  symbols: readonly SymbolName[];
  limit: number;
  run: number | undefined;
}

export const script: Script<Options> = {
  name: 'archive-log',
  summary: 'What archive and restore did: who, when, which window, how many candles, how it ended',
  examples: ['', '--limit 100', '--symbol BTC/USDT', '--run 12'],
  args: {
    symbol: { type: 'string', description: 'Only runs that moved candles of these, with commas' },
    market: { type: 'string', description: "Of Binance's own names: spot or usdm" },
    limit: { type: 'string', description: 'How many runs, the latest first', default: '20' },
    run: { type: 'string', valueHint: 'id', description: 'The batches of this run' },
  },
  options: z
    .object({
      symbol: z.string().optional(),
      market: marketOption.optional(),
      limit: wholeNumber(1, 100_000).default(20),
      run: wholeNumber(1).optional(),
    })
    .transform(({ symbol, market, limit, run }, context) => ({
      symbols: symbol === undefined ? [] : readSymbols([symbol], market, context),
      limit,
      run,
    })),
  async run(options, context) {
    const { sql } = await context.database();
    if (options.run !== undefined) {
      const [run] = await latestRuns(sql, { id: options.run, limit: 1 });
      if (run === undefined) {
        throw new KlinekeepError('data', `There is no run ${options.run}.`, {
          hint: 'archive-log without --run lists the latest ones.',
        });
      }
      const batches = await batchesOf(sql, run.id);
      return {
        exitCode: EXIT.done,
        json: { run: runToJson(run), batches: batches.map(batchToJson) },
        text: `${showRuns([run])}\n\n${showBatches(batches)}`,
      };
    }
    const instruments =
      options.symbols.length > 0 ? await findInstruments(sql, options.symbols) : [];
    const runs = await latestRuns(sql, { instruments, limit: options.limit });
    return {
      json: { runs: runs.map(runToJson) },
      text: runs.length === 0 ? 'Nothing was ever archived or restored.' : showRuns(runs),
    };
  },
};

const iso = (timeMs: number | undefined) =>
  timeMs === undefined ? null : new Date(timeMs).toISOString();

function runToJson({ startedMs, finishedMs, window, outcome, detail, ...run }: LoggedRun) {
  return {
    ...run,
    startedAt: iso(startedMs),
    finishedAt: iso(finishedMs),
    from: iso(window.fromMs),
    to: iso(window.toMs),
    outcome: outcome ?? null,
    detail: detail ?? null,
  };
}

function batchToJson({ movedAtMs, window, durationMs, ...batch }: LoggedBatch) {
  return {
    ...batch,
    movedAt: iso(movedAtMs),
    from: iso(window.fromMs),
    to: iso(window.toMs),
    durationMs: durationMs ?? null,
  };
}

function showRuns(runs: readonly LoggedRun[]): string {
  const rows = runs.map((run) => [
    Number(run.id),
    run.verb,
    formatShort(run.startedMs),
    `${run.startedBy}@${run.host}`,
    `${run.window.fromMs === undefined ? '' : `${formatShort(run.window.fromMs)} `}to ${formatShort(run.window.toMs)}`,
    run.movedRows,
    run.batches,
    run.conflictRows,
    run.finishedMs === undefined ? '' : formatDuration(run.finishedMs - run.startedMs),
    run.outcome ?? 'running or killed',
  ]);
  const head = 'run,verb,started (UTC),by,window,candles,batches,conflicts,took,outcome'.split(',');
  const details = runs.flatMap((run) =>
    run.detail ? [`\nrun ${run.id}: ${run.detail.replaceAll('\n', `\nrun ${run.id}: `)}`] : [],
  );
  return `${formatTable(head, rows)}${details.length > 0 ? `\n${details.join('')}` : ''}`;
}

function showBatches(batches: readonly LoggedBatch[]): string {
  const rows = batches.map((batch) => [
    batch.symbol,
    batch.interval,
    formatShort(batch.window.fromMs),
    formatShort(batch.window.toMs),
    batch.movedRows,
    batch.equalRows,
    batch.conflictRows,
    batch.durationMs === undefined ? '' : `${formatCount(batch.durationMs)} ms`,
    batch.contentHash ?? '',
  ]);
  const head = 'symbol,interval,from,to,candles,equal,conflicts,took,content hash'.split(',');
  return formatTable(head, rows);
}

await main(import.meta, script);
