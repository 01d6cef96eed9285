import type { Market } from '../market/mod.ts';

/** How long no request may be sent. */
export interface Pause {
  /** From now on. */
  pauseMs: number;
  /** A ban (418) ends the run; a 429 is waited for. */
  isBan: boolean;
}

/** Pauses that Binance has demanded, shared by all runs on one database: store/exchange-pauses.ts. */
export interface SharedPauses {
  /** @returns undefined when requests may be sent */
  read(market: Market): Promise<Pause | undefined>;
  extend(market: Market, pause: Pause): Promise<void>;
}
