import type postgres from 'postgres';
import type { Instrument } from '../market/mod.ts';
import { columnList, runSql, SqlText } from '../postgres/mod.ts';

export type Tier = 'hot' | 'archive';

/** A table of one instrument's candles. */
export interface CandleTable {
  tier: Tier;
  instrument_id: number;
  table_name: string;
  /** Whether this role may read it under its name. */
  is_readable: boolean;
  /** With its indexes, as of the last VACUUM or ANALYZE. */
  bytes: number;
}

/** What this role can read. */
export interface ReadAccess {
  /** Of the tables that all instruments share, the readable ones. */
  names: ReadonlySet<string>;
  /** By instrument id. */
  tables: Record<Tier, ReadonlyMap<number, CandleTable>>;
}

/** Finds out what this role can read: a monitor may have access to a part of the tables only. */
export async function readAccess(sql: postgres.Sql): Promise<ReadAccess> {
  const [names, tables] = await Promise.all([
    runSql<{ name: string; may: boolean }>(sql, 'read/readable.sql'),
    runSql<CandleTable>(sql, 'read/tables.sql'),
  ]);
  const inTier = (tier: Tier) =>
    new Map(tables.filter((each) => each.tier === tier).map((each) => [each.instrument_id, each]));
  return {
    names: new Set(names.filter(({ may }) => may).map(({ name }) => name)),
    tables: { hot: inTier('hot'), archive: inTier('archive') },
  };
}

/**
 * The instruments that have a table, for a role that cannot read `instruments`. Their symbol is the one
 * in all_klines, or the name of the table where that is not readable either.
 */
export async function instrumentsByTable(
  sql: postgres.Sql,
  { names, tables }: ReadAccess,
): Promise<Instrument[]> {
  const found: Instrument[] = [];
  for (const { instrument_id: id, table_name: tableName } of tables.hot.values()) {
    const [row] = names.has('all_klines')
      ? await sql`select symbol, market from all_klines where instrument_id = ${id} limit 1`
      : [];
    found.push({
      id,
      tableName,
      market: row?.market ?? 'spot',
      symbol: row?.symbol ?? tableName,
      exchangeSymbol: '',
      status: 'active',
      listedAtMs: undefined,
      needsCheck: false,
    });
  }
  return found.sort((a, b) => (a.symbol < b.symbol ? -1 : 1));
}

/**
 * What to select an instrument's candles of one tier from: its own table, which is fastest; otherwise
 * something that the role can read; otherwise the whole tier, so that PostgreSQL reports what is denied.
 */
export function candlesFrom(
  tier: Tier,
  { id }: Instrument,
  { names, tables }: ReadAccess,
): SqlText {
  const table = tables[tier].get(id);
  if (table?.is_readable) return columnList([table.table_name]);
  // Without a table of the instrument the whole tier has no candles of it.
  const parent = tier === 'hot' ? 'klines' : 'klines_archive';
  if (names.has(parent)) return columnList([parent]);
  if (names.has('all_klines'))
    return new SqlText(`(select * from all_klines where tier = '${tier}') as ${parent}`);
  // Hot candles alone are shown where the archive cannot be read.
  return tier === 'archive' && names.has('klines')
    ? new SqlText('(select * from klines where false) as klines_archive')
    : columnList([parent]);
}
