import { addSteps, type Interval } from '../../../lib/market/intervals.ts';

/** A kline as Binance sends it. */
export type RawRow = [
  openMs: number,
  open: string,
  high: string,
  low: string,
  close: string,
  volume: string,
  closeMs: number,
  quoteVolume: string,
  trades: number,
  takerVolume: string,
  takerQuoteVolume: string,
  ignore: string,
];

const MINUTE_MS = 60_000;
const KNOT_MINUTES = 60;
/** Added to the highest and taken from the lowest price, in ticks. */
const WICK_TICKS = 3;
const VOLUME_SCALE = 5;
const PERIOD = 997;

/** Sums of a repeating sequence, so that any span of it costs the same. */
class Cumulative {
  private readonly prefix: number[] = [0];
  private readonly values: number[];
  private readonly offset: number;
  constructor(seed: number, at: (index: number) => number) {
    this.offset = seed % PERIOD;
    this.values = Array.from({ length: PERIOD }, (_, index) => at(index));
    for (const value of this.values) this.prefix.push(this.prefix.at(-1)! + value);
  }
  between(from: number, to: number): number {
    return this.until(to + this.offset) - this.until(from + this.offset);
  }
  /** A part of a minute has its share, rounded down, so that seconds add up to their minute. */
  private until(index: number): number {
    const whole = Math.floor(index);
    const part = Math.floor(this.values[whole % PERIOD]! * (index - whole));
    return Math.floor(whole / PERIOD) * this.prefix[PERIOD]! + this.prefix[whole % PERIOD]! + part;
  }
}

/**
 * Made-up candles, the same for the same name at every call. Seconds are exact parts of the 1m candles. Longer intervals are the exact
 * roll-up of the 1m candles, and cost no more than their hours: the price runs straight from
 * one hour to the next, and volumes come from running sums.
 */
export class MadeUpCandles {
  private readonly seed: number;
  private readonly basePrice: number;
  private readonly priceScale: number;
  private readonly volumes: Cumulative;
  private readonly takerVolumes: Cumulative;
  private readonly trades: Cumulative;

  constructor(name: string, basePrice = 10 ** ((hash(name, 1) % 50) / 10 - 2)) {
    this.seed = hash(name, 0);
    this.basePrice = basePrice;
    this.priceScale = Math.min(8, Math.max(0, 5 - Math.floor(Math.log10(basePrice))));
    const volumeAt = (index: number) => 50_000 + (hash(name, index + 10) % 100_000);
    this.volumes = new Cumulative(this.seed, volumeAt);
    this.takerVolumes = new Cumulative(this.seed, (index) => Math.floor(volumeAt(index) * 0.4));
    this.trades = new Cumulative(this.seed, (index) => 10 + (hash(name, index + 5000) % 90));
  }

  /** @param nowMs minutes from here on have not happened yet; the candle then is still forming */
  candle(interval: Interval, openMs: number, nowMs: number, revision = 0): RawRow {
    const endMs = addSteps(interval, openMs, 1);
    const first = openMs / MINUTE_MS;
    const isForming = endMs > nowMs;
    const last = isForming
      ? Math.max(Math.min(first + 1, endMs / MINUTE_MS), Math.floor(nowMs / MINUTE_MS))
      : endMs / MINUTE_MS;

    const prices = [this.priceAt(first), this.priceAt(last)];
    for (let knot = Math.ceil(first / KNOT_MINUTES); knot * KNOT_MINUTES <= last; knot++) {
      prices.push(this.knot(knot));
    }
    const bonus = revision + (isForming ? 1 : 0);
    const volume = this.volumes.between(first, last) + bonus;
    const taker = this.takerVolumes.between(first, last) + bonus;
    return [
      openMs,
      this.price(prices[0]!),
      this.price(Math.max(...prices) + WICK_TICKS),
      this.price(Math.min(...prices) - WICK_TICKS),
      this.price(prices[1]!),
      decimal(BigInt(volume), VOLUME_SCALE),
      endMs - 1,
      this.quote(volume),
      this.trades.between(first, last),
      decimal(BigInt(taker), VOLUME_SCALE),
      this.quote(taker),
      '0',
    ];
  }

  private price(ticks: number): string {
    return decimal(BigInt(ticks), this.priceScale);
  }

  private quote(volume: number): string {
    return decimal(
      BigInt(volume) * BigInt(Math.max(1, Math.round(this.basePrice * 100))),
      VOLUME_SCALE + 2,
    );
  }

  /** In ticks, at the beginning of a minute: straight between knots, so never outside them. */
  private priceAt(minute: number): number {
    const knot = Math.floor(minute / KNOT_MINUTES);
    const from = this.knot(knot);
    const to = this.knot(knot + 1);
    return from + Math.floor(((to - from) * (minute % KNOT_MINUTES)) / KNOT_MINUTES);
  }

  private knot(index: number): number {
    const wave = Math.sin(index / 700 + this.seed) * 0.2 + Math.sin(index / 37) * 0.02;
    const noise = (mix(this.seed ^ Math.imul(index, 0x9e3779b1)) % 2000) / 100_000;
    return Math.round(this.basePrice * 10 ** this.priceScale * (1 + wave + noise));
  }
}

/** Eight decimals, as spot writes them. */
function decimal(units: bigint, scale: number): string {
  const digits = units.toString().padStart(scale + 1, '0');
  const whole = scale === 0 ? digits : digits.slice(0, -scale);
  return `${whole}.${(scale === 0 ? '' : digits.slice(-scale)).padEnd(8, '0')}`;
}

function hash(text: string, salt: number): number {
  let state = mix(salt + 0x811c9dc5);
  for (let at = 0; at < text.length; at++) state = mix(state ^ text.charCodeAt(at));
  return state;
}

function mix(value: number): number {
  let state = value >>> 0;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
