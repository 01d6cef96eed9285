import { z } from '../lib/base/mod.ts';
import { defineScript, main, option, type Refuse, readSymbol } from '../lib/cli/mod.ts';
import { FIELD_NAMES, type Field, type FieldMap } from '../lib/download/mod.ts';
import { type AdoptOptions, adopt } from './_adopt.ts';
import { formatAdopted } from './_adopt-text.ts';

export const script = defineScript({
  name: 'db adopt',
  summary: "Copy the candles of another program's table, then compare both",
  examples: [
    'btc_usdt --symbol BTC/USDT --interval 1m --rename btc_usdt_old',
    'old_bot.candles --symbol BTC/USDT --interval 1h --map open_time=ts,open_price=o --dry-run',
  ],
  options: {
    table: z.string({ error: 'a table such as btc_usdt' }).meta({
      positional: true,
      description: 'The table; with its schema, if search_path does not include it',
    }),
    symbol: option.symbol.describe('The symbol of the candles, such as BTC/USDT'),
    interval: option.interval.describe('The length of a candle: 1s … 1M'),
    market: option.market.optional().describe('For symbols such as BTCUSDT: spot or usdm'),
    map: option.text.optional().meta({
      valueHint: 'field=column,…',
      description: `Columns with other names. Fields: ${FIELD_NAMES.join(' ')}`,
    }),
    rename: option.text
      .refine((name) => name !== '' && Buffer.byteLength(name) <= 63, 'a name of 1 to 63 bytes')
      .optional()
      .meta({
        valueHint: 'name',
        description: 'Rename the old table first; required if it has the name of the new one',
      }),
    dryRun: option.flag.describe('Read, check and compare; store nothing'),
  },
  read: ({ symbol, market, map, ...options }, refuse): AdoptOptions => ({
    ...options,
    name: readSymbol(symbol, market, refuse),
    map: readMap(map, refuse),
  }),
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const adopted = await adopt(options, context);
    const { instrument, table, counts, compared } = adopted;
    const { firstDifferentMs, ...numbers } = counts;
    return {
      json: {
        dryRun: options.dryRun,
        symbol: instrument.symbol,
        market: instrument.market,
        interval: options.interval,
        table: table.quoted,
        ...numbers,
        firstDifferent:
          firstDifferentMs === undefined ? null : new Date(firstDifferentMs).toISOString(),
        compared: compared && { equal: compared.equal, different: compared.different },
      },
      text: formatAdopted(options, adopted),
    };
  },
});

/** Reads `open_time=ts,open_price=o`. */
function readMap(map: string | undefined, refuse: Refuse): FieldMap {
  const columns: Partial<Record<Field, string>> = {};
  for (const pair of map?.split(',') ?? []) {
    const [, field, column] = /^(\w+)=(.+)$/.exec(pair) ?? [];
    const known = FIELD_NAMES.find((name) => name === field);
    if (known && column) columns[known] = column;
    else {
      refuse(
        `--map has ${JSON.stringify(pair)}. Expected field=column, with one of ${FIELD_NAMES.join(' ')}.`,
      );
    }
  }
  return columns;
}

await main(import.meta, script);
