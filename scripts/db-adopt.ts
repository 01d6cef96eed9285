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
  claimTable,
  copyCandles,
  FIELD_NAMES,
  type Field,
  type ForeignTable,
  findOrRegisterOffline,
  findSource,
  plannedInstrument,
  planSource,
  renameTable,
  standsInTheWay,
} from '../lib/download/mod.ts';
import type { Instrument, Interval, SymbolName } from '../lib/market/mod.ts';
import { eachInstrument, throwIfOnlyFailure } from '../lib/store/mod.ts';

interface Options {
  table: string;
  name: SymbolName;
  interval: Interval;
  map: Partial<Record<Field, string>>;
  rename: string | undefined;
  dryRun: boolean;
}

interface Adopted {
  instrument: Instrument;
  /** Under the name that it has now. */
  table: ForeignTable;
  counts: AdoptCounts;
  /** What a second reading of the table found in the store. */
  compared: AdoptCounts | undefined;
}

/** Copies the table's candles under the instrument's lock, then reads it again and compares. */
export async function adopt(options: Options, context: Context): Promise<Adopted> {
  const database = await context.database();
  const { interval, map, rename } = options;
  // Before anything is registered for a table that is not there or cannot be read.
  const found = await findSource(database.sql, options.table, rename);
  planSource(found, { instrument: plannedInstrument(options.name), interval }, map);
  const { instrument, nowMs } = await findOrRegisterOffline(
    database.sql,
    () => context.rest(),
    options.name,
    { writes: !options.dryRun, warn: context.log.warn },
  );
  const series = { instrument, interval };
  context.progress.start(0, 'rows');
  const copy = async (
    session: AdoptWork['session'],
    signal: AbortSignal,
    table: ForeignTable,
    writes: boolean,
  ) => {
    const plan = planSource(table, series, map);
    if (writes || options.dryRun) for (const note of plan.notes) context.log.info(note);
    const reader = database.openSession();
    try {
      return await copyCandles({
        ...{ session, reader, series, source: table, plan, nowMs, signal, writes },
        listener: {
          onRows: (rows, untilMs) => {
            context.progress.extend(rows);
            context.progress.advance(rows, `${instrument.symbol} ${formatShort(untilMs)}`);
          },
        },
      });
    } finally {
      await reader.end({ timeout: 5 });
    }
  };

  if (options.dryRun) {
    await standsInTheWay(database.sql, series, found, rename);
    const session = database.openSession();
    try {
      const counts = await copy(session, context.signal, found, false);
      return { instrument, table: found, counts, compared: undefined };
    } finally {
      await session.end({ timeout: 5 });
    }
  }
  const runs = await eachInstrument(
    database,
    [instrument],
    { concurrency: 1, signal: context.signal },
    async ({ session, signal }): Promise<Adopted> => {
      const table = await claimTable(session, series, options.table, rename);
      const counts = await copy(session, signal, table, true);
      const compared = await copy(session, signal, table, false);
      assertArrived(counts, compared, table);
      const renamed = rename === undefined ? table : await renameTable(session, table, rename);
      return { instrument, table: renamed, counts, compared };
    },
  );
  throwIfOnlyFailure(runs);
  const [run] = runs;
  if (run?.state !== 'done') {
    throw new KlinekeepError('later', `Another run works on ${instrument.symbol}.`, {
      hint: 'Run it again when the other run has ended.',
    });
  }
  return run.result;
}

function assertArrived(counts: AdoptCounts, compared: AdoptCounts, table: ForeignTable): void {
  if (counts.rows === counts.rejected) {
    throw new KlinekeepError(
      'data',
      `No row of ${table.quoted} is a candle: ${counts.reasons[0]}.`,
      {
        hint: 'They are in rejected_klines, with the reason. --map names columns that are called otherwise.',
      },
    );
  }
  if (compared.missing === 0 && compared.different <= counts.different) return;
  throw new KlinekeepError(
    'failed',
    `Read again, ${compared.missing} candles of ${table.quoted} are not stored, and ${compared.different} differ; ` +
      `wanted 0 and ${counts.different}.`,
    { hint: 'Another program may be writing to that table. Run it again.' },
  );
}

export const script: Script<Options> = {
  name: 'db adopt',
  summary: 'Copies the candles of a table that another program made, and compares both at the end',
  examples: [
    'btc_usdt --symbol BTC/USDT --interval 1m --rename btc_usdt_old',
    'old_bot.candles --symbol BTC/USDT --interval 1h --map open_time=ts,open_price=o --dry-run',
  ],
  args: {
    table: {
      type: 'positional',
      description: 'The table, with its schema if need be',
      required: true,
    },
    symbol: { type: 'string', description: 'Whose candles they are, such as BTC/USDT' },
    interval: { type: 'string', description: 'How long a candle is: 1m … 1M' },
    market: { type: 'string', description: 'For symbols such as BTCUSDT: spot or usdm' },
    map: {
      type: 'string',
      valueHint: 'field=column,…',
      description: `Columns that are called otherwise. Fields: ${FIELD_NAMES.join(' ')}`,
    },
    rename: {
      type: 'string',
      valueHint: 'name',
      description: 'Rename the old table; needed where it has the name of the new one',
    },
    'dry-run': { type: 'boolean', description: 'Read, check and compare; store nothing' },
  },
  options: z
    .object({
      _: z
        .array(z.string())
        .min(1, '!No table is given; wanted one, such as btc_usdt')
        .max(1, '!More than one table is given; wanted one'),
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
      if (names.length > 1) refuse(`!${options.symbol} is more than one symbol; wanted one`);
      const map: Partial<Record<Field, string>> = {};
      for (const pair of (options.map ?? '').split(',').filter((each) => each !== '')) {
        const [, field, column] = /^(\w+)=(.+)$/.exec(pair) ?? [];
        const known = FIELD_NAMES.find((name) => name === field);
        if (known === undefined || column === undefined)
          refuse(
            `!--map has ${JSON.stringify(pair)}; wanted field=column, with one of ${FIELD_NAMES.join(' ')}`,
          );
        else map[known] = column;
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
    const { instrument, table, counts, compared } = await adopt(options, context);
    context.progress.stop();
    const { symbol, market } = instrument;
    return {
      exitCode: EXIT.done,
      json: {
        dryRun: options.dryRun,
        ...{ symbol, market, interval: options.interval, table: table.quoted },
        ...toJson(counts),
        compared: compared && { equal: compared.equal, different: compared.different },
      },
      text: formatAdopted(options, symbol, table, counts, compared),
    };
  },
};

function toJson({ firstDifferentMs, missing, ...counts }: AdoptCounts) {
  return {
    ...counts,
    missing,
    firstDifferent:
      firstDifferentMs === undefined ? null : new Date(firstDifferentMs).toISOString(),
  };
}

function formatAdopted(
  options: Options,
  symbol: string,
  table: ForeignTable,
  counts: AdoptCounts,
  compared: AdoptCounts | undefined,
): string {
  const { rows, equal, different, duplicates, rejected, forming, firstDifferentMs } = counts;
  const added = options.dryRun ? counts.missing : counts.inserted;
  const since =
    firstDifferentMs === undefined ? '' : `, the first at ${formatShort(firstDifferentMs)}`;
  const would = options.dryRun ? 'would be ' : '';
  return [
    `${symbol} ${options.interval}: ${formatCount(rows)} rows read, ${formatCount(added)} candles ${would}added`,
    ...(equal > 0 ? [`${formatCount(equal)} were stored already`] : []),
    ...(different > 0
      ? [`${formatCount(different)} DIFFER from what is stored, which stays${since}`]
      : []),
    ...(duplicates > 0 ? [`${formatCount(duplicates)} rows repeat a time; the latest counts`] : []),
    ...(rejected > 0
      ? [
          `${formatCount(rejected)} rejected${options.dryRun ? '' : ' (see rejected_klines)'}: ${counts.reasons[0]}`,
        ]
      : []),
    ...(forming > 0 ? [`${formatCount(forming)} have not closed yet and are left out`] : []),
    ...(compared
      ? [
          `Read again and compared: ${formatCount(compared.equal)} equal, ${formatCount(compared.different)} different. ` +
            `The old table is ${table.quoted}.`,
        ]
      : []),
  ].join('\n');
}

await main(import.meta, script);
