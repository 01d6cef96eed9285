import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { addMonths, DAY_MS, formatTime, toUtc } from '../../lib/base/time.ts';
import { type Interval, isInterval } from '../../lib/market/intervals.ts';
import type { Market } from '../../lib/market/symbols.ts';
import type { FakeSymbol } from './fake-binance/symbols.ts';

/**
 * A folder laid out like data.binance.vision, with answers of exchangeInfo. Made-up files come with the
 * project; KLINEKEEP_RECORDINGS names a folder of real ones.
 */
export const RECORDINGS = process.env.KLINEKEEP_RECORDINGS
  ? resolve(process.env.KLINEKEEP_RECORDINGS)
  : join(import.meta.dirname, 'recordings');

/** Days of one series for which there are files, without a break. */
export interface RecordedSpan {
  market: Market;
  /** Binance's, such as `BTCUSDT`. */
  exchangeSymbol: string;
  /** Ours, such as `BTC/USDT:USDT`. */
  symbol: string;
  interval: Interval;
  /** The first day, such as `2023-02-15`. */
  since: string;
  /** The day after the last. */
  until: string;
  days: number;
}

/** All spans of all series. */
export function recordedSpans(): RecordedSpan[] {
  return (['spot', 'usdm'] as const).flatMap((market) =>
    ['daily', 'monthly'].flatMap((period) => {
      const folder = market === 'spot' ? 'spot' : 'futures/um';
      return spansIn(market, join(RECORDINGS, folder, period, 'klines'));
    }),
  );
}

/**
 * The days around Binance's outage of 2023-03-24, for 1m and 1h candles of BTC/USDT and ETH/USDT: 72 flat
 * minutes from 11:28 on, the last of which closes early, then 80 minutes without a candle.
 */
export function recordedOutage(): Pick<RecordedSpan, 'since' | 'until' | 'days'> {
  const span = recordedSpans().find(
    ({ interval, since, until }) =>
      interval === '1m' && since <= '2023-03-24' && until > '2023-03-24',
  );
  if (!span) throw new Error(`${RECORDINGS} has no candles of the outage of 2023-03-24.`);
  return span;
}

/** Symbols of a recorded exchangeInfo. @param name such as `spot-20221103` */
export function recordedSymbols(name: `${Market}-${string}`): FakeSymbol[] {
  const file = join(RECORDINGS, 'exchange-info', `${name}.json`);
  const text = existsSync(file) ? readFileSync(file) : gunzipSync(readFileSync(`${file}.gz`));
  return JSON.parse(String(text)).symbols.map((each: Record<string, string>) => ({
    market: name.split('-')[0],
    symbol: each.symbol,
    base: each.baseAsset,
    quote: each.quoteAsset,
    status: each.status,
    contractType: each.contractType,
  }));
}

function spansIn(market: Market, folder: string): RecordedSpan[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((exchangeSymbol) =>
    readdirSync(join(folder, exchangeSymbol))
      .filter(isInterval)
      .flatMap((interval) => {
        const names = readdirSync(join(folder, exchangeSymbol, interval));
        const symbol = exchangeSymbol.replace(/USDT$/, market === 'spot' ? '/USDT' : '/USDT:USDT');
        return joinDays(names).map((days) => ({
          market,
          exchangeSymbol,
          symbol,
          interval,
          ...days,
        }));
      }),
  );
}

/** Joins the days or months that the names of files end in. */
function joinDays(names: readonly string[]): Pick<RecordedSpan, 'since' | 'until' | 'days'>[] {
  const spans: { fromMs: number; toMs: number }[] = [];
  for (const name of names.toSorted()) {
    const date = /-(\d{4}-\d\d(?:-\d\d)?)\.zip$/.exec(name)?.[1];
    if (!date) continue;
    const fromMs = Date.parse(date);
    const toMs = date.length === 7 ? addMonths(toUtc(fromMs), 1).getTime() : fromMs + DAY_MS;
    const last = spans.at(-1);
    if (last?.toMs === fromMs) last.toMs = toMs;
    else spans.push({ fromMs, toMs });
  }
  return spans.map(({ fromMs, toMs }) => ({
    since: formatTime(fromMs).slice(0, 10),
    until: formatTime(toMs).slice(0, 10),
    days: (toMs - fromMs) / DAY_MS,
  }));
}
