import type { Market } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

interface Request {
  market: Market;
  /** The current minute by the exchange's clock, Unix ms. */
  minuteMs: number;
  seen: number;
  wanted: number;
  allowance: number;
}

/** The request ledger (see lib/binance/ledger.ts) in the tables request_budget and exchange_pauses. */
export function createRequestLedger(sql: Sql) {
  return {
    async reserve({ market, minuteMs, seen, wanted, allowance }: Request) {
      const [row] = await runSql<{ granted: number; pause_ms: number; is_ban: boolean }>(
        sql,
        'store/reserve_requests.sql',
        { market, minute: new Date(minuteMs), seen, wanted, allowance },
      );
      return {
        granted: row?.granted ?? 0,
        pauseMs: row?.pause_ms ?? 0,
        isBan: row?.is_ban ?? false,
      };
    },
    async pause(market: Market, pauseMs: number, isBan: boolean): Promise<void> {
      await runSql(sql, 'store/pause_requests.sql', {
        market,
        pause_ms: pauseMs,
        is_ban: String(isBan),
      });
    },
  };
}
