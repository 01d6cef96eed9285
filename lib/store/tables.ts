import { KlinekeepError } from '../base/mod.ts';
import type { Instrument } from '../market/mod.ts';
import { createIn, runSql, type Session, type Sql } from '../postgres/mod.ts';
import { lockedTransaction, lockTable } from './locks.ts';
import { describeTaken, type FoundName } from './taken-table.ts';

export type Tier = 'klines' | 'klines_archive';

/** What has the name of an instrument's table in one tier. */
export type CandleTable =
  | { state: 'ready' }
  /** There is no table yet. `home`: the tier's schema, if a new table would be created in another one. */
  | { state: 'absent'; home: string | undefined }
  /** Another object has the name. `hasShape`: it has the columns of klines, so it may have candles. */
  | { state: 'taken'; problem: KlinekeepError; isTable: boolean; hasShape: boolean };

const known = new WeakSet<Instrument>();

/** The name of an instrument's table in a tier. */
export function tableIn(tier: Tier, instrument: Instrument): string {
  return tier === 'klines' ? instrument.tableName : `${instrument.tableName}_archive`;
}

/**
 * Looks up what has the name of an instrument's table. Only the tier's partition for this instrument
 * is right: PostgreSQL would store candles in any other table of that name, in another schema too,
 * and no reader would find them.
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
 * Creates the instrument's table before its first candle is stored. In a transaction of its own:
 * tables are attached one after the other, and would wait for each other's pages of candles.
 * @throws KlinekeepError (78) when another object has the name of the table
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
 * @throws KlinekeepError (78) when another object has its name
 */
export async function tableExists(sql: Sql, instrument: Instrument, tier: Tier): Promise<boolean> {
  const table = await findTable(sql, instrument, tier);
  if (table.state === 'taken') throw table.problem;
  return table.state === 'ready';
}

/**
 * Checks that the instrument's table is still a partition of klines.
 * @throws KlinekeepError (78) when the table was dropped, or another object has its name
 */
export async function assertTable(sql: Sql, instrument: Instrument): Promise<void> {
  if (await tableExists(sql, instrument, 'klines')) return;
  throw new KlinekeepError(
    'config',
    `The table ${instrument.tableName} was dropped during the run.`,
    {
      hint: 'Run it again: a new one is created.',
    },
  );
}
