import { KlinekeepError } from '../base/mod.ts';
import { quote } from '../postgres/mod.ts';

/** A row of sql/store/candle_table.sql; all but `home` is null where nothing has the name. */
export interface FoundName {
  /** The schema of klines. */
  home: string;
  /** New tables are created in another schema. */
  is_elsewhere: boolean;
  schema: string | null;
  kind: string;
  /** Its schema follows that of klines on the search_path, so it hides nothing. */
  comes_later: boolean | null;
  is_partition: boolean;
  holds_instrument: boolean | null;
  bound: string | null;
  parent: string | null;
  has_shape: boolean;
  /** The instrument's partition, whatever its name. */
  partition: string | null;
  /** A type other than a table has the name in the schema of klines. */
  is_type: boolean;
}

/** The error that says what has the name of an instrument's table, and what to do about it. */
export function describeTaken(
  found: FoundName,
  wanted: { name: string; parent: string; instrument_id: number },
  symbol: string,
): KlinekeepError {
  const { name, parent, instrument_id } = wanted;
  const { partition } = found;
  const taken = `${quote(found.schema ?? found.home)}.${quote(name)}`;
  const wish = `a partition of ${parent} for ${symbol} (instrument ${instrument_id})`;
  if (partition !== null) {
    return refuse(
      symbol,
      found.schema === null
        ? `${parent} keeps it in ${partition}, but instruments.table_name wants ${quote(name)}`
        : `${taken} is a ${found.kind} that hides ${partition}, where ${parent} keeps its candles`,
      found.schema === null
        ? `Rename the table: alter table ${partition} rename to ${quote(name)};`
        : `Put the schema of klinekeep first: DATABASE_URL=…?options=-csearch_path%3D${encodeURIComponent(found.home)}`,
    );
  }
  if (found.is_partition || found.parent !== null) {
    return refuse(
      symbol,
      `${taken} is a partition of ${found.parent} (${found.bound?.toLowerCase()}); wanted ${wish}`,
      `Rename ${taken}, or change instruments.table_name of ${symbol} before its first candle is stored.`,
    );
  }
  if (found.kind === 'table' && found.has_shape) {
    return refuse(
      symbol,
      `${taken} is no partition of ${parent}; wanted ${wish}`,
      `If it was detached, attach it: alter table ${parent} attach partition ${taken} for values in (${instrument_id});\n` +
        renameHint(found.kind, taken, name),
    );
  }
  return refuse(
    symbol,
    `its table name is taken: ${taken} is a ${found.kind}; wanted ${wish}`,
    parent === 'klines' && found.kind !== 'sequence' && found.kind !== 'type'
      ? `To copy its candles: just db adopt ${name} --symbol ${symbol} --interval 1m --rename ${name}_old\n${renameHint(found.kind, taken, name)}`
      : renameHint(found.kind, taken, name),
  );
}

function refuse(symbol: string, found: string, hint: string): KlinekeepError {
  return new KlinekeepError('config', `Cannot use the table of ${symbol}: ${found}.`, { hint });
}

function renameHint(kind: string, taken: string, name: string): string {
  const noun = kind === 'partitioned table' ? 'table' : kind;
  return (
    `To keep it, rename it: alter ${noun} ${taken} rename to ${quote(`${name}_old`)};\n` +
    'or give klinekeep a schema of its own: DATABASE_URL=…?options=-csearch_path%3Dklines'
  );
}
