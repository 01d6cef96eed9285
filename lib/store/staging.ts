/** This session's staging table: candles to be merged into klines. */
import type postgres from 'postgres';
import { type Series, seriesValues } from '../market/mod.ts';
import { copyIn, runSql, type Session } from '../postgres/mod.ts';
import { COPY_COLUMNS, type KlineEncoder } from './kline-copy.ts';
import type { StoreCounts } from './page.ts';

/** Adds candles to this session's staging table, or to another one of its temporary tables. */
export async function stage(
  sql: Session | postgres.TransactionSql,
  encoder: KlineEncoder,
  table: 'staged_klines' | 'answered_klines' = 'staged_klines',
): Promise<void> {
  await copyIn(sql, `copy ${table} ${COPY_COLUMNS} from stdin (format binary)`, encoder.data());
}

/** Merges the staged candles of a series into klines. */
export async function merge(
  tx: postgres.TransactionSql,
  series: Series,
): Promise<Pick<StoreCounts, 'inserted' | 'revised'>> {
  const [counts] = await runSql(tx, 'store/merge.sql', seriesValues(series));
  return counts as { inserted: number; revised: number };
}
