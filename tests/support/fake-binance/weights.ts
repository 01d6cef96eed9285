import type { Market } from '../../../lib/market/symbols.ts';

const LIMITS: Record<Market, number> = { spot: 6000, usdm: 2400 };
/** Number of requests after a 429 that lead to a ban. */
const PATIENCE = 10;
const BAN_S = 120;

export type Verdict = { status: 200 } | { status: 429 | 418; retryAfterS: number };

/** One market's request weight, counted per clock minute as at Binance. */
export class Weights {
  limit: number;
  used = 0;
  /** The highest weight of a minute. */
  peak = 0;
  private minute = 0;
  private ignored = 0;
  private bannedUntilMs = 0;

  constructor(market: Market) {
    this.limit = LIMITS[market];
  }

  spend(weight: number, nowMs: number): Verdict {
    const minute = Math.floor(nowMs / 60_000);
    if (minute !== this.minute) Object.assign(this, { minute, used: 0, ignored: 0 });
    this.used += weight;
    this.peak = Math.max(this.peak, this.used);
    if (nowMs < this.bannedUntilMs) {
      return { status: 418, retryAfterS: Math.ceil((this.bannedUntilMs - nowMs) / 1000) };
    }
    if (this.used <= this.limit) return { status: 200 };
    if (++this.ignored > PATIENCE) {
      this.bannedUntilMs = nowMs + BAN_S * 1000;
      return { status: 418, retryAfterS: BAN_S };
    }
    return { status: 429, retryAfterS: Math.max(1, Math.ceil(60 - (nowMs % 60_000) / 1000)) };
  }
}

/** The weight of a request. https://developers.binance.com/docs */
export function requestWeight(market: Market, path: string, limit: number): number {
  if (path === 'klines') {
    if (market === 'spot') return 2;
    return limit < 100 ? 1 : limit < 500 ? 2 : limit <= 1000 ? 5 : 10;
  }
  return path === 'exchangeInfo' && market === 'spot' ? 20 : 1;
}
