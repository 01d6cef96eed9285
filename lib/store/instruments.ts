import { KlinekeepError } from '../base/mod.ts';
import { type Instrument, type Market, type SymbolName, tableNameFor } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

export interface ListOptions {
  market?: Market | undefined;
  /** Only those that update follows: active, or delisted and not updated to the last candle yet. */
  onlyFollowed?: boolean;
}

/** All registered instruments, ordered by market and symbol. */
export async function listInstruments(sql: Sql, filter: ListOptions = {}): Promise<Instrument[]> {
  const rows = await sql`
    select id, market, symbol, exchange_symbol, status, table_name, listed_at, doubted_at
    from instruments
    where ${filter.market ? sql`market = ${filter.market}` : sql`true`}
      and ${filter.onlyFollowed ? sql`(status = 'active' or ended_at is null)` : sql`true`}
    order by market, symbol`;
  return rows.map((row) => ({
    id: row.id,
    market: row.market,
    symbol: row.symbol,
    exchangeSymbol: row.exchange_symbol,
    status: row.status,
    tableName: row.table_name,
    listedAtMs: row.listed_at?.getTime(),
    needsCheck: row.doubted_at !== null,
  }));
}

/** The value of `--symbol` and `--market`. */
export interface InstrumentFilter {
  /** None: all. */
  symbols: readonly SymbolName[];
  market: Market | undefined;
}

/**
 * The instruments that a run works on.
 * @throws KlinekeepError (65) naming the symbols that are not registered.
 */
export async function chooseInstruments(sql: Sql, filter: InstrumentFilter): Promise<Instrument[]> {
  if (filter.symbols.length > 0) return await findInstruments(sql, filter.symbols);
  return await listInstruments(sql, { market: filter.market });
}

/**
 * The registered instruments of these names.
 * @throws KlinekeepError (65) naming those that are not registered.
 */
export async function findInstruments(
  sql: Sql,
  names: readonly SymbolName[],
): Promise<Instrument[]> {
  const all = await listInstruments(sql);
  const found = names.map((name) => all.find((instrument) => isNamed(instrument, name)));
  const unknown = names.filter((_, index) => found[index] === undefined);
  if (unknown.length > 0) {
    throw new KlinekeepError('data', `Not registered: ${unknown.map(showName).join(', ')}.`, {
      hint: 'To register a symbol, use fetch, or update with --symbol and --interval. To register a whole market, use sync --market.',
    });
  }
  // One instrument may be given by two names.
  return [...new Set(found as Instrument[])];
}

/** Whether an instrument is the one of this name. */
export function isNamed(instrument: Instrument, name: SymbolName): boolean {
  if (instrument.market !== name.market) return false;
  return name.symbol === undefined
    ? instrument.exchangeSymbol === name.exchangeSymbol
    : instrument.symbol === name.symbol;
}

/** The name as it was written, for messages. */
export function showName(name: SymbolName): string {
  return name.symbol ?? `${name.exchangeSymbol} (${name.market})`;
}

/** A symbol to register, as the exchange lists it. */
export interface NewInstrument {
  market: Market;
  symbol: string;
  exchangeSymbol: string;
  base: string;
  quote: string;
  isTrading: boolean;
}

/** Registers symbols; those that are registered already stay as they are. */
export async function registerInstruments(
  sql: Sql,
  listed: readonly NewInstrument[],
): Promise<void> {
  // A thousand rows of nine columns stay far below PostgreSQL's 65,534 parameters.
  for (let at = 0; at < listed.length; at += 1000) {
    const rows = listed.slice(at, at + 1000).map((symbol) => ({
      market: symbol.market,
      symbol: symbol.symbol,
      exchange_symbol: symbol.exchangeSymbol,
      base: symbol.base,
      quote: symbol.quote,
      status: symbol.isTrading ? 'active' : 'delisted',
      table_name: tableNameFor(symbol.market, symbol.base, symbol.quote),
    }));
    // Another run may register the same symbol at the same moment.
    await sql`insert into instruments ${sql(rows)} on conflict do nothing`;
  }
}

/** Records when the instrument's first candle opened. */
export async function storeListedAt(
  sql: Sql,
  instrument: Instrument,
  listedAtMs: number,
): Promise<void> {
  await sql`
    update instruments set listed_at = ${new Date(listedAtMs)}, updated_at = now()
    where id = ${instrument.id}`;
  instrument.listedAtMs = listedAtMs;
}

/** Makes the next update look up whether the instrument is still traded. */
export async function markForCheck(sql: Sql, { id }: Instrument): Promise<void> {
  await sql`update instruments set doubted_at = now() where id = ${id}`;
}

/** Marks a delisted instrument as complete: update leaves it alone from now on. */
export async function markEnded(sql: Sql, { id }: Instrument): Promise<void> {
  await sql`update instruments set ended_at = now() where id = ${id} and status = 'delisted'`;
}
