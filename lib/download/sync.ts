import type postgres from 'postgres';
import type { ListedSymbol, RestSource } from '../binance/mod.ts';
import type { Instrument, Market } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import { listInstruments, registerInstruments } from '../store/mod.ts';

export interface SyncChanges {
  registered: string[];
  delisted: string[];
  relisted: string[];
}

/**
 * Plans the changes that exchangeInfo makes to the registry of one market. Symbols that are
 * TRADING are active; all others, and those that are missing, are delisted. None is ever deleted.
 * @param register also register active symbols that are new, of this quote where one is given
 */
export function planSync(
  registered: readonly Instrument[],
  listed: readonly ListedSymbol[],
  register: { quote?: string | undefined } | undefined,
): { changes: SyncChanges; toRegister: ListedSymbol[] } {
  const trading = new Set(
    listed.filter((symbol) => symbol.isTrading).map((symbol) => symbol.exchangeSymbol),
  );
  const known = new Set(registered.map((instrument) => instrument.exchangeSymbol));
  const toRegister = register
    ? listed.filter(
        (symbol) =>
          symbol.isTrading &&
          !known.has(symbol.exchangeSymbol) &&
          (register.quote === undefined || symbol.quote === register.quote),
      )
    : [];
  const isTrading = (instrument: Instrument) => trading.has(instrument.exchangeSymbol);
  const symbols = (instruments: Instrument[]) => instruments.map((instrument) => instrument.symbol);
  return {
    toRegister,
    changes: {
      registered: toRegister.map((symbol) => symbol.symbol),
      delisted: symbols(registered.filter((each) => each.status === 'active' && !isTrading(each))),
      relisted: symbols(registered.filter((each) => each.status === 'delisted' && isTrading(each))),
    },
  };
}

/** Writes the changes of `planSync`, in the caller's transaction. */
export async function applySync(
  sql: Sql,
  market: Market,
  plan: ReturnType<typeof planSync>,
  exchangeTimeMs: number,
): Promise<void> {
  const { delisted, relisted } = plan.changes;
  if (delisted.length > 0) {
    await sql`
      update instruments
      set status = 'delisted', delisted_at = ${new Date(exchangeTimeMs)}, updated_at = now()
      where market = ${market} and symbol in ${sql(delisted)}`;
  }
  if (relisted.length > 0) {
    await sql`
      update instruments
      set status = 'active', delisted_at = null, ended_at = null, updated_at = now()
      where market = ${market} and symbol in ${sql(relisted)}`;
  }
  await sql`
    update instruments set doubted_at = null where market = ${market} and doubted_at is not null`;
  await sql`
    insert into market_checks (market, looked_up_at) values (${market}, now())
    on conflict (market) do update set looked_up_at = excluded.looked_up_at`;
  await registerInstruments(sql, plan.toRegister);
}

/** Looks up which symbols of one market are still traded, and stores the changes. */
export async function refreshMarket(
  sql: postgres.Sql,
  source: RestSource,
  market: Market,
): Promise<SyncChanges> {
  const registered = await listInstruments(sql, { market });
  const plan = planSync(registered, await source.symbols(market), undefined);
  const exchangeTimeMs = await source.serverTimeMs(market);
  await sql.begin((tx) => applySync(tx, market, plan, exchangeTimeMs));
  return plan.changes;
}
