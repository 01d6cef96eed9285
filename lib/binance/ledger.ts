import type { Market } from '../market/mod.ts';

export interface Reservation {
  /** Weight that may be spent in this minute. */
  granted: number;
  /** Binance wants to be left alone for so long; 0: it does not. */
  pauseMs: number;
  isBan: boolean;
}

/** What all runs on one database together ask of Binance, which counts them as one address. */
export interface RequestLedger {
  /**
   * @param request.minuteMs the current minute by the exchange's clock, Unix ms
   * @param request.seen weight that is known to be spent or under way in it
   * @param request.allowance the most that may be spent in it
   */
  reserve(request: {
    market: Market;
    minuteMs: number;
    seen: number;
    wanted: number;
    allowance: number;
  }): Promise<Reservation>;
  /** Nobody is to ask for so long. */
  pause(market: Market, pauseMs: number, isBan: boolean): Promise<void>;
}

/** A ledger for one run alone, where nothing can be written: `verify --compare` on a standby. */
export function createPrivateLedger(): RequestLedger {
  const spent = new Map<Market, { minuteMs: number; weight: number }>();
  const pauses = new Map<Market, { untilMs: number; isBan: boolean }>();
  return {
    async reserve({ market, minuteMs, seen, wanted, allowance }) {
      const pause = pauses.get(market);
      const pauseMs = Math.max(0, (pause?.untilMs ?? 0) - Date.now());
      if (pauseMs > 0) return { granted: 0, pauseMs, isBan: pause?.isBan ?? false };
      const last = spent.get(market);
      const before = Math.max(seen, last?.minuteMs === minuteMs ? last.weight : 0);
      const granted = Math.max(0, Math.min(wanted, allowance - before));
      spent.set(market, { minuteMs, weight: before + granted });
      return { granted, pauseMs: 0, isBan: false };
    },
    async pause(market, pauseMs, isBan) {
      pauses.set(market, { untilMs: Date.now() + pauseMs, isBan });
    },
  };
}
