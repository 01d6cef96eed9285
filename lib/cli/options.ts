/** Readers for the values of options. The issue for an invalid value says what was wanted. */
import type { ArgsDef } from 'citty';
import type { RefinementCtx } from 'zod';
import { parseInstant, parseSpan, z } from '../base/mod.ts';
import {
  INTERVALS,
  type Interval,
  isInterval,
  type Market,
  parseSymbol,
  type SymbolName,
} from '../market/mod.ts';
import type { InstrumentFilter } from '../store/mod.ts';

function readText<T>(wanted: string, parse: (value: string) => T | undefined) {
  return z.string({ error: wanted }).transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: wanted });
    return z.NEVER;
  });
}

/** Digits only: `1e3`, `20.5` and `+5` are more likely typing mistakes. */
export function wholeNumber(min: number, max = 1_000_000_000) {
  return readText(`a whole number from ${min} to ${max}`, (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : undefined;
  });
}

export const intervalOption = readText(`one of ${INTERVALS.join(' ')}`, (value) =>
  isInterval(value) ? value : undefined,
);

/** Unix ms. Spans such as `5y` count back from this machine's clock. */
export const instantOption = readText(
  'a date (2023-03-24), a time (2023-03-24T12:40Z), a span back (90m 36h 400d 6mo 5y) or now',
  (value) => parseInstant(value, Date.now()),
);

/** Milliseconds. */
export const spanOption = readText('a span such as 90s 10m 36h 2d', parseSpan);

export const marketOption = z.enum(['spot', 'usdm'], { error: 'spot or usdm' });

export const flag = z.boolean().default(false);

/**
 * Reads symbols from words; a word may hold several, separated by commas.
 * @param context gets an issue for each that is not a symbol
 * @returns each symbol once
 */
export function readSymbols(
  words: readonly string[],
  market: Market | undefined,
  context: RefinementCtx,
): SymbolName[] {
  const symbols: SymbolName[] = [];
  for (const word of words.flatMap((each) => each.split(','))) {
    const parsed = parseSymbol(word.trim(), market);
    if ('wanted' in parsed) {
      context.addIssue({
        code: 'custom',
        message: `${JSON.stringify(word)} is not a symbol; wanted ${parsed.wanted}`,
      });
    } else if (!symbols.some((s) => s.market === parsed.market && anyName(s) === anyName(parsed))) {
      symbols.push(parsed);
    }
  }
  return symbols;
}

const anyName = (name: SymbolName) => name.symbol ?? name.exchangeSymbol;

/** `--symbol`, `--market` and `--interval`, which limit a run to some series. */
export const FILTER_ARGS = {
  symbol: { type: 'string', description: 'Only these symbols, separated by commas' },
  market: { type: 'string', description: 'Only this market: spot or usdm' },
  interval: { type: 'string', description: 'Only this interval' },
} as const satisfies ArgsDef;

export const filterOptions = {
  symbol: z.string().optional(),
  market: marketOption.optional(),
  interval: intervalOption.optional(),
};

export interface Filter extends InstrumentFilter {
  interval: Interval | undefined;
}

export function readFilter(
  values: {
    symbol?: string | undefined;
    market?: Market | undefined;
    interval?: Interval | undefined;
  },
  context: RefinementCtx,
): Filter {
  const { symbol, market, interval } = values;
  return {
    symbols: symbol === undefined ? [] : readSymbols([symbol], market, context),
    market,
    interval,
  };
}
