/** Which column of another program's table holds which field of a candle, and how it is read. */
import { KlinekeepError } from '../base/mod.ts';
import { type Interval, maxStepMs } from '../market/mod.ts';
import { columnList, SqlText } from '../postgres/mod.ts';

/** Fields of a candle in the order of Binance's files, with what they hold. */
const FIELDS = {
  open_time: 'time',
  open_price: 'decimal',
  high_price: 'decimal',
  low_price: 'decimal',
  close_price: 'decimal',
  volume: 'decimal',
  close_time: 'time',
  quote_volume: 'decimal',
  trades_count: 'count',
  taker_buy_volume: 'decimal',
  taker_buy_quote_volume: 'decimal',
} as const;

export type Field = keyof typeof FIELDS;
export const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[];

const INTEGERS = ['bigint', 'integer', 'smallint'];
const FLOATS = ['double precision', 'real'];
const TEXTS = ['text', 'character varying', 'character'];
const TIMES = ['timestamp with time zone', 'timestamp without time zone'];

const ALLOWED = {
  time: [...TIMES, ...INTEGERS, 'numeric'],
  decimal: ['numeric', ...INTEGERS, ...FLOATS, ...TEXTS],
  count: ['numeric', ...INTEGERS, ...FLOATS, ...TEXTS],
};
const WANTED = {
  time: 'timestamp, timestamptz, or bigint in ms or µs',
  decimal: 'numeric, a float or text',
  count: 'a whole number',
};

/** How rows are read; all of it is SQL. */
export interface RowSource {
  open_time: SqlText;
  line: SqlText;
  filter: SqlText;
  order: SqlText;
  newest: SqlText;
  /** What the person should know about how the table is read. */
  notes: string[];
}

/**
 * Plans how to read the table.
 * @param columns names and types of its columns
 * @param map field → column, for those that are named otherwise
 * @throws KlinekeepError (65) naming each column that is missing or that cannot be read
 */
export function planRows(
  columns: Readonly<Record<string, string>>,
  map: Readonly<Partial<Record<Field, string>>>,
  series: { interval: Interval; symbol: string; exchangeSymbol: string },
): RowSource {
  const problems: string[] = [];
  const notes: string[] = [];
  const chosen = {} as Record<Field, { column: string; type: string } | undefined>;
  for (const field of FIELD_NAMES) {
    const candidates = map[field] ? [map[field]] : [field, ...OTHER_NAMES[field]];
    const column = candidates.find((name) => columns[name] !== undefined);
    if (column === undefined) {
      if (field === 'close_time' && map.close_time === undefined) {
        notes.push('There is no close_time: it is computed from open_time.');
        continue;
      }
      problems.push(
        map[field] ? `it has no column ${map[field]} (for ${field})` : `it has no column ${field}`,
      );
      continue;
    }
    const type = columns[column] as string;
    const kind = FIELDS[field];
    if (!ALLOWED[kind].includes(type))
      problems.push(`${column} is of type ${type}; wanted ${WANTED[kind]}`);
    if (kind === 'decimal' && FLOATS.includes(type))
      notes.push(`${column} is a float (${type}): rounded to 8 decimals.`);
    if (type === 'timestamp without time zone')
      notes.push(`${column} has no time zone: read as UTC.`);
    chosen[field] = { column, type };
  }
  if (problems.length > 0) {
    throw new KlinekeepError(
      'data',
      `Cannot read candles from this table: ${problems.join('; ')}.`,
      {
        hint:
          `Its columns: ${Object.keys(columns).join(', ')}.\n` +
          'Name columns that are called otherwise: --map open_time=ts,open_price=o',
      },
    );
  }

  const line = FIELD_NAMES.map((field) => {
    const each = chosen[field];
    if (each) return read(FIELDS[field], each);
    const open = chosen.open_time as { column: string; type: string };
    return endOfCandle(open, series.interval);
  });
  const open = chosen.open_time as { column: string; type: string };
  const newest = ['updated_at', 'created_at', 'id'].find((name) => columns[name] !== undefined);
  return {
    open_time: new SqlText(read('time', open)),
    // Binance's twelfth field means nothing.
    line: new SqlText([...line, "'0'"].join(',\n  ')),
    filter: new SqlText(filterFor(columns, series, notes)),
    order: columnList([open.column]),
    newest: newest === undefined ? new SqlText('1') : columnList([newest]),
    notes,
  };
}

const OTHER_NAMES: Record<Field, readonly string[]> = {
  open_time: ['timestamp'],
  close_time: [],
  open_price: ['open'],
  high_price: ['high'],
  low_price: ['low'],
  close_price: ['close'],
  volume: [],
  quote_volume: ['quote_asset_volume'],
  trades_count: ['trades', 'number_of_trades'],
  taker_buy_volume: ['taker_buy_base_volume', 'taker_buy_base_asset_volume'],
  taker_buy_quote_volume: ['taker_buy_quote_asset_volume'],
};

/** An expression for the text of a field; what it cannot be comes out as text that the reader rejects. */
function read(
  kind: 'time' | 'decimal' | 'count',
  { column, type }: { column: string; type: string },
) {
  const name = columnList([column]).text;
  const text = `coalesce(translate(${name}::text, E',\\n\\r', '???'), '')`;
  if (TEXTS.includes(type)) return text;
  if (TIMES.includes(type))
    return `case when isfinite(${name}) then floor(extract(epoch from ${name}) * 1000)::bigint::text else ${text} end`;
  if (INTEGERS.includes(type)) return text;
  const number = FLOATS.includes(type) ? `round(${name}::text::numeric, 8)` : name;
  return `coalesce(trim_scale(${kind === 'time' ? `trunc(${number})` : number})::text, '')`;
}

function endOfCandle(open: { column: string; type: string }, interval: Interval): string {
  const start = read('time', open);
  if (interval === '1M') {
    const name = columnList([open.column]).text;
    const time = TIMES.includes(open.type)
      ? `${name}${open.type === 'timestamp with time zone' ? " at time zone 'UTC'" : ''}`
      : `to_timestamp(${toMs(name)} / 1000.0) at time zone 'UTC'`;
    return `(floor(extract(epoch from ${time} + interval '1 month') * 1000)::bigint - 1)::text`;
  }
  const name = columnList([open.column]).text;
  return TIMES.includes(open.type)
    ? `case when isfinite(${name}) then ((${start})::bigint + ${maxStepMs(interval) - 1})::text else '' end`
    : `coalesce((${toMs(name)} + ${maxStepMs(interval) - 1})::text, '')`;
}

/** µs and ms are distinguished by magnitude, as everywhere else. */
function toMs(name: string): string {
  return `trunc(case when ${name} >= 100000000000000 then ${name} / 1000 else ${name} end)::bigint`;
}

/** Tables that hold several series in one say which row belongs to which. */
function filterFor(
  columns: Readonly<Record<string, string>>,
  {
    interval,
    symbol,
    exchangeSymbol,
  }: { interval: string; symbol: string; exchangeSymbol: string },
  notes: string[],
): string {
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const parts: string[] = [];
  if (TEXTS.includes(columns.interval ?? '')) {
    notes.push(`Only rows whose interval is ${interval}.`);
    parts.push(`"interval" = ${literal(interval)}`);
  }
  if (TEXTS.includes(columns.symbol ?? '')) {
    notes.push(`Only rows whose symbol is ${symbol} or ${exchangeSymbol}.`);
    parts.push(`upper(symbol) in (${literal(symbol)}, ${literal(exchangeSymbol)})`);
  }
  return parts.length === 0 ? 'true' : parts.join(' and ');
}
