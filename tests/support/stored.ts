import type postgres from 'postgres';
import { expect } from 'vitest';
import type { Interval } from '../../lib/market/intervals.ts';
import type { Market } from '../../lib/market/symbols.ts';
import type { RawRow } from './fake-binance/candles.ts';

/** Reads stored candles in the form of `expectedRows`. @returns also the number of rows per tier */
export async function storedRows(
  sql: postgres.Sql,
  market: Market,
  symbol: string,
  interval: Interval,
): Promise<{ rows: string[]; tiers: Record<string, number> }> {
  const stored = await sql`
    select tier, timestamp, (extract(epoch from close_time) * 1000)::bigint as close_ms,
      open_price, high_price, low_price, close_price,
      volume, quote_volume, trades_count, taker_buy_volume, taker_buy_quote_volume
    from all_klines
    where market = ${market} and symbol = ${symbol} and interval = ${interval}
    order by open_time`;
  const tiers: Record<string, number> = {};
  for (const row of stored) tiers[row.tier] = (tiers[row.tier] ?? 0) + 1;
  const rows = stored.map((row) =>
    canonical([
      row.timestamp,
      row.open_price,
      row.high_price,
      row.low_price,
      row.close_price,
      row.volume,
      row.close_ms,
      row.quote_volume,
      row.trades_count,
      row.taker_buy_volume,
      row.taker_buy_quote_volume,
    ]),
  );
  return { rows, tiers };
}

/** The exchange's rows as lines to compare, without candles that close after `nowMs`. */
export function expectedRows(rows: readonly RawRow[], nowMs: number): string[] {
  return rows.filter((row) => row[6] < nowMs).map((row) => canonical(row.slice(0, 11)));
}

/** The fields of a kline as one line: times in ms, decimals without trailing zeros. */
export function canonical(values: readonly unknown[]): string {
  return values
    .map((value) =>
      String(value)
        .replace(/(\.\d*?)0+$/, '$1')
        .replace(/\.$/, ''),
    )
    .join(' ');
}

/** Compares rows; prints the first difference only, not a hundred thousand lines. */
export function expectSameRows(found: readonly string[], wanted: readonly string[]): void {
  const different = wanted.findIndex((row, index) => row !== found[index]);
  expect({ count: found.length, firstDifference: found[different] }).toEqual({
    count: wanted.length,
    firstDifference: wanted[different],
  });
}
