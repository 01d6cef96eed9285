import { EXIT, formatCount, formatShort, KlinekeepError, z } from '../lib/base/mod.ts';
import {
  type Context,
  flag,
  intervalOption,
  main,
  marketOption,
  readSymbols,
  type Script,
} from '../lib/cli/mod.ts';
import {
  type AdoptCounts,
  type AdoptWork,
  assertNameIsFree,
  copyCandles,
  FIELD_NAMES,
  type Field,
  type FieldMap,
  type ForeignTable,
  findForeignTable,
  findOrRegisterOffline,
  plannedInstrument,
  planRows,
  renameTable,
} from '../lib/download/mod.ts';
import type { Instrument, Interval, SymbolName } from '../lib/market/mod.ts';
import { eachInstrument, throwIfOnlyFailure } from '../lib/store/mod.ts';

interface Options {
  table: string;
  name: SymbolName;
  interval: Interval;
  map: FieldMap;
  rename: string | undefined;
  dryRun: boolean;
}

interface Adopted {
  instrument: Instrument;
  /** Under the name that it has now. */
  table: ForeignTable;
  counts: AdoptCounts;
  /** What a second reading of the table found; undefined after a dry run. */
  compared: AdoptCounts | undefined;
}

/** Copies the table's candles under the instrument's lock, then reads it again and compares. */
export async function adopt(options: Options, context: Context): Promise<Adopted> {
  const database = await context.database();
  const { interval, map, rename, dryRun } = options;
  // Nothing is registered for a table that is missing or cannot be read.
  const found = await findForeignTable(database.sql, options.table, rename);
  planRows(found.columns, { instrument: plannedInstrument(options.name), interval }, map);
  const { instrument, nowMs } = await findOrRegisterOffline(
    database.sql,
    () => context.rest(),
    options.name,
    { writes: !dryRun, warn: context.log.warn },
  );
  context.progress.start(0, 'rows');
  const read = (work: Pick<AdoptWork, 'session' | 'signal' | 'table' | 'writes' | 'onNote'>) =>
    copyCandles({
      ...work,
      database,
      series: { instrument, interval },
      map,
      nowMs,
      onRows: (rows, untilMs) => {
        context.progress.extend(rows);
        context.progress.advance(rows, `${instrument.symbol} ${formatShort(untilMs)}`);
      },
    });
  const onNote = context.log.info;

  if (dryRun) {
    await assertNameIsFree(database.sql, instrument, found, rename);
    const session = database.openSession();
    const work = { session, signal: context.signal, table: found, writes: false, onNote };
    const counts = await read(work).finally(() => session.end({ timeout: 5 }));
    return { instrument, table: found, counts, compared: undefined };
  }
  const [run] = await eachInstrument(
    database,
    [instrument],
    { concurrency: 1, signal: context.signal },
    async ({ session, signal }): Promise<Adopted> => {
      let table = await findForeignTable(session, options.table, rename);
      await assertNameIsFree(session, instrument, table, rename);
      if (rename !== undefined) table = await renameTable(session, table, rename);
      const counts = await read({ session, signal, table, writes: true, onNote });
      const compared = await read({ session, signal, table, writes: false });
      assertArrived(counts, compared, table);
      return { instrument, table, counts, compared };
    },
  );
  if (run) throwIfOnlyFailure([run]);
  if (run?.state === 'done') return run.result;
  throw new KlinekeepError(
    'later',
    `Cannot adopt into ${instrument.symbol}: another run has locked it.`,
    {
      hint: 'Run it again after the other run has finished.',
    },
  );
}

function assertArrived(counts: AdoptCounts, compared: AdoptCounts, table: ForeignTable): void {
  if (counts.rows === counts.rejected) {
    throw new KlinekeepError(
      'data',
      `No row of ${table.quoted} is a candle: ${counts.reasons[0]}.`,
      {
        hint: 'The rejected rows and the reasons are in rejected_klines. Use --map for columns with other names.',
      },
    );
  }
  if (compared.missing === 0 && compared.different <= counts.different) return;
  throw new KlinekeepError(
    'failed',
    `The second reading found ${compared.missing} candles of ${table.quoted} that are not stored, and ` +
      `${compared.different} that differ; wanted 0 and ${counts.different}.`,
    { hint: 'Another program may be writing to that table. Run it again.' },
  );
}

export const script: Script<Options> = {
  name: 'db adopt',
  summary: "Copy the candles of another program's table, then compare both",
  examples: [
    'btc_usdt --symbol BTC/USDT --interval 1m --rename btc_usdt_old',
    'old_bot.candles --symbol BTC/USDT --interval 1h --map open_time=ts,open_price=o --dry-run',
  ],
  args: {
    table: {
      type: 'positional',
      description: 'The table; with its schema, if search_path does not include it',
      required: true,
    },
    symbol: { type: 'string', description: 'The symbol of the candles, such as BTC/USDT' },
    interval: { type: 'string', description: 'The length of a candle: 1s … 1M' },
    market: { type: 'string', description: 'For symbols such as BTCUSDT: spot or usdm' },
    map: {
      type: 'string',
      valueHint: 'field=column,…',
      description: `Columns with other names. Fields: ${FIELD_NAMES.join(' ')}`,
    },
    rename: {
      type: 'string',
      valueHint: 'name',
      description: 'Rename the old table first; required if it has the name of the new one',
    },
    'dry-run': { type: 'boolean', description: 'Read, check and compare; store nothing' },
  },
  options: z
    .object({
      _: z
        .array(z.string())
        .min(1, 'No table is given; wanted one, such as btc_usdt')
        .max(1, 'More than one table is given; wanted one'),
      symbol: z.string({ error: 'a symbol such as BTC/USDT' }),
      interval: intervalOption,
      market: marketOption.optional(),
      map: z.string().optional(),
      rename: z
        .string()
        .refine((name) => name !== '' && Buffer.byteLength(name) <= 63, 'a name of 1 to 63 bytes')
        .optional(),
      'dry-run': flag,
    })
    .transform((options, context) => {
      const refuse = (message: string) => context.addIssue({ code: 'custom', message });
      const names = readSymbols([options.symbol], options.market, context);
      if (names.length > 1) refuse(`${options.symbol} is more than one symbol; wanted one`);
      const map: Partial<Record<Field, string>> = {};
      for (const pair of options.map?.split(',') ?? []) {
        const [, field, column] = /^(\w+)=(.+)$/.exec(pair) ?? [];
        const known = FIELD_NAMES.find((name) => name === field);
        if (known && column) map[known] = column;
        else
          refuse(
            `--map has ${JSON.stringify(pair)}; wanted field=column, with one of ${FIELD_NAMES.join(' ')}`,
          );
      }
      return {
        table: options._[0] as string,
        name: names[0] as SymbolName,
        interval: options.interval,
        map,
        rename: options.rename,
        dryRun: options['dry-run'],
      };
    }),
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const adopted = await adopt(options, context);
    context.progress.stop();
    const { instrument, table, counts, compared } = adopted;
    return {
      exitCode: EXIT.done,
      json: {
        dryRun: options.dryRun,
        symbol: instrument.symbol,
        market: instrument.market,
        interval: options.interval,
        table: table.quoted,
        ...toJson(counts),
        compared: compared && { equal: compared.equal, different: compared.different },
      },
      text: formatAdopted(options, adopted),
    };
  },
};

function toJson({ firstDifferentMs, ...counts }: AdoptCounts) {
  const firstDifferent =
    firstDifferentMs === undefined ? null : new Date(firstDifferentMs).toISOString();
  return { ...counts, firstDifferent };
}

function formatAdopted({ interval, dryRun }: Options, adopted: Adopted): string {
  const { instrument, table, counts, compared } = adopted;
  const { rows, equal, different, duplicates, rejected, forming, firstDifferentMs } = counts;
  const lines = [
    `${instrument.symbol} ${interval}: ${formatCount(rows)} rows read, ` +
      (dryRun
        ? `${formatCount(counts.missing)} candles would be added`
        : `${formatCount(counts.inserted)} candles added`),
  ];
  if (equal > 0) lines.push(`${formatCount(equal)} were stored already`);
  if (firstDifferentMs !== undefined)
    lines.push(
      `${formatCount(different)} DIFFER from what is stored, which stays, ` +
        `the first at ${formatShort(firstDifferentMs)}`,
    );
  if (duplicates > 0)
    lines.push(`${formatCount(duplicates)} rows repeat a time; the latest counts`);
  if (rejected > 0) {
    const where = dryRun ? '' : ' (see rejected_klines)';
    lines.push(`${formatCount(rejected)} rejected${where}: ${counts.reasons[0]}`);
  }
  if (forming > 0) lines.push(`${formatCount(forming)} have not closed yet and are left out`);
  if (compared)
    lines.push(
      `Read again and compared: ${formatCount(compared.equal)} equal, ` +
        `${formatCount(compared.different)} different. The old table is ${table.quoted}.`,
    );
  return lines.join('\n');
}

await main(import.meta, script);
