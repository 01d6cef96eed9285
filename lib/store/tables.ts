import { KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { createIn, runSql, type Session, type Sql } from '../postgres/mod.ts';
import { lockedTransaction, lockTable } from './locks.ts';
import { describeTaken, type FoundName } from './taken-table.ts';

export type Tier = 'klines' | 'klines_archive';

/** What the name of an instrument's table stands for in one tier. */
export type CandleTable =
  | { state: 'ready' }
  /** There is none yet. `home`: the schema of the tier, when a new table would land in another one. */
  | { state: 'absent'; home: string | undefined }
  /** Something else has the name. `hasShape`: it has the columns of klines, so it may hold candles. */
  | { state: 'taken'; problem: KlinekeepError; isTable: boolean; hasShape: boolean };

const known = new WeakSet<Instrument>();

/** The name of an instrument's table in a tier. */
export function tableIn(tier: Tier, instrument: Instrument): string {
  return tier === 'klines' ? instrument.tableName : `${instrument.tableName}_archive`;
}

/**
 * Looks up what the name of an instrument's table stands for. Only a partition of the tier that holds
 * this very instrument will do: PostgreSQL would store candles in whatever else has the name, or in a
 * table of another schema, and no reader would ever find them.
 */
export async function findTable(
  sql: Sql,
  instrument: Instrument,
  tier: Tier = 'klines',
): Promise<CandleTable> {
  const name = tableIn(tier, instrument);
  const values = { parent: tier, name, instrument_id: instrument.id };
  const [found] = await runSql<FoundName>(sql, 'store/candle_table.sql', values);
  if (found === undefined) throw new Error(`${tier} was not found`);
  if (found.is_partition && found.holds_instrument) return { state: 'ready' };
  const isFree = found.schema === null || found.comes_later === true;
  if (isFree && !found.is_type && found.partition === null)
    return { state: 'absent', home: found.is_elsewhere ? found.home : undefined };
  return {
    state: 'taken',
    problem: describeTaken(
      { ...found, kind: isFree ? 'type' : found.kind },
      values,
      instrument.symbol,
    ),
    isTable: !isFree && found.kind === 'table',
    hasShape: !isFree && found.has_shape,
  };
}

/**
 * Makes the instrument's table when its first candle comes. In a transaction of its own: tables are
 * attached one after the other, and a page of candles would keep the next one waiting.
 * @throws KlinekeepError (78) when something else has the name of the table
 */
export async function ensureTable(session: Session, instrument: Instrument): Promise<void> {
  if (known.has(instrument)) return;
  if (!(await tableExists(session, instrument, 'klines'))) {
    await lockedTransaction(session, instrument.id, '', async (tx) => {
      await lockTable(tx, instrument.id);
      const table = await findTable(tx, instrument);
      if (table.state === 'taken') throw table.problem;
      if (table.state === 'ready') return;
      await createIn(tx, table.home);
      await runSql(tx, 'store/create_table.sql', {
        hot: instrument.tableName,
        instrument_id: instrument.id,
      });
    });
  }
  known.add(instrument);
}

/**
 * Whether the instrument has a table in a tier.
 * @throws KlinekeepError (78) when something else has its name
 */
export async function tableExists(sql: Sql, instrument: Instrument, tier: Tier): Promise<boolean> {
  const table = await findTable(sql, instrument, tier);
  if (table.state === 'taken') throw table.problem;
  return table.state === 'ready';
}

/**
 * That candles copied into the instrument's table are part of klines.
 * @throws KlinekeepError (78) when the table is gone, or something else has its name
 */
export async function assertTable(sql: Sql, instrument: Instrument): Promise<void> {
  if (await tableExists(sql, instrument, 'klines')) return;
  throw new KlinekeepError('config', `The table ${instrument.tableName} was dropped meanwhile.`, {
    hint: 'Run it again: a new one is created.',
  });
}
