import type { Market } from '../market/mod.ts';
import { runSql, type Sql } from '../postgres/mod.ts';

/** See `SharedPauses` in lib/binance/pauses.ts. */
interface Pause {
  pauseMs: number;
  isBan: boolean;
}

/** The pauses that Binance has demanded of this address, in the table exchange_pauses. */
export function createSharedPauses(sql: Sql) {
  return {
    async read(market: Market): Promise<Pause | undefined> {
      const [row] = await sql`
        select ceil(extract(epoch from until_time - now()) * 1000)::float8 as pause_ms, is_ban
        from exchange_pauses
        where market = ${market} and until_time > now()`;
      return row && { pauseMs: row.pause_ms, isBan: row.is_ban };
    },
    async extend(market: Market, { pauseMs, isBan }: Pause): Promise<void> {
      const values = { market, pause_ms: pauseMs, is_ban: String(isBan) };
      await runSql(sql, 'store/pause_requests.sql', values);
    },
  };
}
