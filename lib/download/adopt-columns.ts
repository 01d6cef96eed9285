/** Which column of another program's table has which field of a candle, and how it is read. */
import { KlinekeepError } from '../base/mod.ts';
import { maxStepMs, type Series } from '../market/mod.ts';
import { columnList, quoteIdentifier, SqlText } from '../postgres/mod.ts';

/** The fields of a candle in the order of Binance's files: their kind, and usual names of their column. */
const FIELDS = {
  open_time: ['time', 'open_time', 'timestamp'],
  open_price: ['number', 'open_price', 'open'],
  high_price: ['number', 'high_price', 'high'],
  low_price: ['number', 'low_price', 'low'],
  close_price: ['number', 'close_price', 'close'],
  volume: ['number', 'volume'],
  close_time: ['time', 'close_time'],
  quote_volume: ['number', 'quote_volume', 'quote_asset_volume'],
  trades_count: ['number', 'trades_count', 'trades', 'number_of_trades'],
  taker_buy_volume: [
    ...['number', 'taker_buy_volume', 'taker_buy_base_volume', 'taker_buy_base_asset_volume'],
  ],
  taker_buy_quote_volume: ['number', 'taker_buy_quote_volume', 'taker_buy_quote_asset_volume'],
} as const;

export type Field = keyof typeof FIELDS;
export const FIELD_NAMES = Object.keys(FIELDS) as readonly Field[];
/** Field → column, for columns with another name. */
export type FieldMap = Readonly<Partial<Record<Field, string>>>;

const INTEGERS = ['bigint', 'integer', 'smallint'];
const FLOATS = ['double precision', 'real'];
const TEXTS = ['text', 'character varying', 'character'];
const TIMES = ['timestamp with time zone', 'timestamp without time zone'];

const ALLOWED = {
  time: [...TIMES, ...INTEGERS, 'numeric'],
  number: ['numeric', ...INTEGERS, ...FLOATS, ...TEXTS],
};
const WANTED = {
  time: 'timestamp, timestamptz, or bigint in ms or µs',
  number: 'numeric, an integer, a float or text',
};

/** The variables of download/adopted_rows.sql, and what the user should know about them. */
export interface RowPlan {
  values: Record<'open_time' | 'line' | 'filter' | 'order' | 'newest', SqlText>;
  notes: string[];
}

interface Column {
  name: string;
  type: string;
}

/**
 * Plans how to read candles from a table.
 * @param columns type of each column, by name
 * @throws KlinekeepError (65) with each column that is missing or that cannot be read
 */
export function planRows(
  columns: Readonly<Record<string, string>>,
  series: Series,
  map: FieldMap,
): RowPlan {
  const { chosen, notes } = chooseColumns(columns, map);
  const openTime = chosen.open_time as Column;
  const line = FIELD_NAMES.map((field) => {
    const column = chosen[field];
    if (column === undefined) return closeTime(openTime, series);
    return FIELDS[field][0] === 'time' ? timeText(column) : numberText(column);
  });
  const newest = ['updated_at', 'created_at', 'id'].find((name) => columns[name] !== undefined);
  return {
    notes,
    values: {
      open_time: new SqlText(timeText(openTime)),
      // Binance's twelfth field means nothing.
      line: new SqlText([...line, "'0'"].join(',\n  ')),
      filter: new SqlText(filterRows(columns, series, notes)),
      order: columnList([openTime.name]),
      newest: newest === undefined ? new SqlText('1') : columnList([newest]),
    },
  };
}

function chooseColumns(columns: Readonly<Record<string, string>>, map: FieldMap) {
  const chosen: Partial<Record<Field, Column>> = {};
  const notes: string[] = [];
  const problems: string[] = [];
  for (const field of FIELD_NAMES) {
    const [kind, ...usualNames] = FIELDS[field];
    const given = map[field];
    const name = (given ? [given] : usualNames).find((each) => columns[each] !== undefined);
    if (name === undefined) {
      if (field === 'close_time' && !given)
        notes.push('There is no close_time: it is computed from open_time.');
      else problems.push(`it has no column ${given ? `${given} (for ${field})` : field}`);
      continue;
    }
    const type = columns[name] as string;
    if (!ALLOWED[kind].includes(type))
      problems.push(`${name} is of type ${type}; wanted ${WANTED[kind]}`);
    if (FLOATS.includes(type)) notes.push(`${name} is a float (${type}): rounded to 8 decimals.`);
    if (type === 'timestamp without time zone')
      notes.push(`${name} has no time zone: read as UTC.`);
    chosen[field] = { name, type };
  }
  if (problems.length === 0) return { chosen, notes };
  throw new KlinekeepError('data', `Cannot read candles from this table: ${problems.join('; ')}.`, {
    hint:
      `Its columns: ${Object.keys(columns).join(', ')}.\n` +
      'Use --map for columns with other names: --map open_time=ts,open_price=o',
  });
}

/** SQL for a number's text. The reader rejects what is not a number. */
function numberText({ name, type }: Column): string {
  const column = quoteIdentifier(name);
  if (TEXTS.includes(type)) return `coalesce(translate(${column}, E',\\n\\r', '???'), '')`;
  const number = FLOATS.includes(type)
    ? `round(${column}::text::numeric, 8)`
    : `${column}::numeric`;
  return `coalesce(trim_scale(${number})::text, '')`;
}

/** SQL for a time as Unix ms; null for an infinite one. */
function timeMs({ name, type }: Column): string {
  const column = quoteIdentifier(name);
  return TIMES.includes(type)
    ? `case when isfinite(${column}) then floor(extract(epoch from ${column}) * 1000) end`
    : `trunc(case when ${column} >= 100000000000000 then ${column} / 1000.0 else ${column} end)`;
}

function timeText(column: Column): string {
  return `coalesce((${timeMs(column)})::text, ${quoteIdentifier(column.name)}::text, '')`;
}

function closeTime(openTime: Column, { interval }: Series): string {
  const openMs = timeMs(openTime);
  const nextMs =
    interval === '1M'
      ? `extract(epoch from to_timestamp((${openMs}) / 1000) at time zone 'UTC' + interval '1 month') * 1000`
      : `(${openMs}) + ${maxStepMs(interval)}`;
  return `coalesce(floor(${nextMs} - 1)::text, '')`;
}

/** SQL that chooses one series in a table that has several. */
function filterRows(
  columns: Readonly<Record<string, string>>,
  { instrument, interval }: Series,
  notes: string[],
): string {
  const { symbol, exchangeSymbol } = instrument;
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const conditions = ['true'];
  if (TEXTS.includes(columns.interval ?? '')) {
    notes.push(`Only rows whose interval is ${interval}.`);
    conditions.push(`"interval" = ${literal(interval)}`);
  }
  if (TEXTS.includes(columns.symbol ?? '')) {
    notes.push(`Only rows whose symbol is ${symbol} or ${exchangeSymbol}.`);
    conditions.push(`upper(symbol) in (${literal(symbol)}, ${literal(exchangeSymbol)})`);
  }
  return conditions.join(' and ');
}
