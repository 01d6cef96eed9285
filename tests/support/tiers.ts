import { expect } from 'vitest';
import { readColumns } from '../../lib/archive/tables.ts';
import type { Instrument } from '../../lib/market/instrument.ts';
import type { Database } from '../../lib/postgres/connection.ts';
import { renderSql } from '../../lib/postgres/sql-file.ts';
import { listInstruments } from '../../lib/store/instruments.ts';

export interface MadeCandles {
  symbol?: string;
  table?: string;
  interval?: string;
  /** How many candles, a minute apart. */
  rows: number;
  from: string;
}

/**
 * Stores made-up 1m candles without an exchange, and a copy of each in the table `reference`. Tests apply
 * their changes to both.
 */
export async function makeCandles(
  { sql }: Database,
  { symbol = 'BTC/USDT', table = 'btc_usdt', interval = '1m', rows, from }: MadeCandles,
): Promise<Instrument> {
  const [base, quote] = symbol.split('/');
  await sql`
    insert into instruments ${sql({
      ...{ market: 'spot', symbol, exchange_symbol: `${base}${quote}`, base, quote },
      ...{ status: 'active', table_name: table },
    })}
    on conflict do nothing`;
  const instrument = (await listInstruments(sql)).find((each) => each.symbol === symbol);
  if (!instrument) throw new Error(`${symbol} was not registered.`);
  const [found] = await sql`select to_regclass(format('%I', ${table}::text)) is null as missing`;
  if (found?.missing) {
    await sql.unsafe(
      renderSql('store/create_table.sql', { hot: table, instrument_id: instrument.id }),
    );
  }
  await sql`
    insert into klines
    select
      ${instrument.id}, ${interval}, t, t + '59.999 s', n + 1, n + 2, n + 0.5, n + 1.5, n, n * 2, n, n / 3.0, n / 7.0,
      t + '1 min', t + '1 min'
    from generate_series(0, ${rows - 1}) as n
    cross join lateral (select ${from}::timestamptz + n * '1 min'::interval as t) as at`;
  // In parts, for tests on servers where no file may grow large.
  await sql.unsafe(`
    create table if not exists reference (like klines including defaults) partition by hash (open_time);
    create table if not exists reference_0 partition of reference for values with (modulus 2, remainder 0);
    create table if not exists reference_1 partition of reference for values with (modulus 2, remainder 1)`);
  await sql`insert into reference select * from klines where instrument_id = ${instrument.id}
    except all select * from reference`;
  return instrument;
}

/**
 * Expects both tiers together to equal the reference, no candle in both, and a batch log that adds up to
 * the archive.
 * @returns candles per tier
 */
export async function expectReference({
  sql,
}: Database): Promise<{ hot: number; archive: number }> {
  const [found] = await sql`
    with stored as (select * from klines union all select * from klines_archive)
    select
      (select count(*)::int from klines) as hot,
      (select count(*)::int from klines_archive) as archive,
      (
        select count(*)::int from klines
        join klines_archive using (instrument_id, interval, open_time)
      ) as both,
      (select count(*)::int from (select * from stored except all select * from reference) as x) as surplus,
      (select count(*)::int from (select * from reference except all select * from stored) as x) as missing`;
  expect(found).toMatchObject({ both: 0, surplus: 0, missing: 0 });
  await expectLedger({ sql });
  return { hot: found?.hot, archive: found?.archive };
}

/** Expects the batch hashes of each series to add up to the hash of its archive. */
export async function expectLedger({ sql }: Pick<Database, 'sql'>): Promise<void> {
  const { row_hash } = await readColumns(sql, 'klines_archive');
  // In one snapshot, because a run may be in progress.
  const [stored, logged] = await sql.begin('isolation level repeatable read', (tx) => [
    tx.unsafe(`
    select instrument_id, interval, count(*)::int as rows, sum(${row_hash.text})::text as hash
    from klines_archive group by 1, 2 order by 1, 2`),
    tx`
    select
      instrument_id, interval,
      sum(
        case direction
          when 'archive' then moved_rows - conflict_rows + dropped_rows - equal_rows
          else -moved_rows - dropped_rows
        end
      )::int as rows,
      sum(
        case direction
          when 'archive' then content_hash - replaced_hash
          else -content_hash - dropped_hash
        end
      )::text as hash
    from archive_batches
    group by 1, 2
    having sum(
      case direction
        when 'archive' then moved_rows - conflict_rows + dropped_rows - equal_rows
        else -moved_rows - dropped_rows
      end
    ) <> 0
    order by 1, 2`,
  ]);
  expect([...logged]).toEqual([...stored]);
}
