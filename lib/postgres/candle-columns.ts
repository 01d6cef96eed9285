/** The columns of a candle in their order, without its series and without the times of its row. */
export const CANDLE_COLUMNS: readonly string[] = [
  'open_time',
  'close_time',
  'open_price',
  'high_price',
  'low_price',
  'close_price',
  'volume',
  'quote_volume',
  'trades_count',
  'taker_buy_volume',
  'taker_buy_quote_volume',
];

/**
 * The variables that every SQL file may use: `:candle_columns` is the list above and `:candle_values`
 * the same without open_time. With the alias of a table in place of `candle`, each column is that
 * table's: `(:stored_values) is distinct from (:staged_values)` compares two candles.
 * @returns the list as SQL; undefined: the variable has another name
 */
export function candleColumns(variable: string): string | undefined {
  const [, alias, kind] = /^([a-z]+)_(columns|values)$/.exec(variable) ?? [];
  if (alias === undefined) return undefined;
  const columns = kind === 'columns' ? CANDLE_COLUMNS : CANDLE_COLUMNS.slice(1);
  return columns.map((name) => (alias === 'candle' ? name : `${alias}.${name}`)).join(', ');
}
