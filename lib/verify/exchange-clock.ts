import type { Market } from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';
import type { InstrumentReport } from './findings.ts';

/**
 * How far the exchange's clock is ahead of the database's. It is asked only when the database's clock would
 * cause a finding, and once for each market.
 */
export class ExchangeClock {
  private readonly sql: Sql;
  private readonly ask: (market: Market) => Promise<number | undefined>;
  private readonly offsets = new Map<Market, Promise<number>>();

  /** @param ask returns the exchange's clock, Unix ms; undefined: it cannot be reached */
  constructor(sql: Sql, ask: (market: Market) => Promise<number | undefined>) {
    this.sql = sql;
    this.ask = ask;
  }

  /** In ms; undefined before it was asked. */
  knownOffsetMs(market: Market): Promise<number> | undefined {
    return this.offsets.get(market);
  }

  /** In ms; 0 if the exchange cannot be reached. */
  async offsetMs(market: Market): Promise<number> {
    const known = this.offsets.get(market) ?? this.measure(market);
    this.offsets.set(market, known);
    return await known;
  }

  private async measure(market: Market): Promise<number> {
    const exchangeMs = await this.ask(market);
    if (exchangeMs === undefined) return 0;
    const [row] = await this.sql`select clock_timestamp() as now`;
    return exchangeMs - row?.now.getTime();
  }
}

/** Whether there are findings that another clock may not cause. */
export function dependsOnClock({ series }: InstrumentReport): boolean {
  return series.some(({ findings }) =>
    findings.some(({ check }) => check === 'not-closed' || check === 'stale'),
  );
}
