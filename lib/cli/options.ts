/** Readers for the values of options: text in, checked value out, with what was wanted if not. */
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

const text = z.string();

function read<T>(wanted: string, parse: (value: string) => T | undefined) {
  return text.transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: wanted });
    return z.NEVER;
  });
}

/** Digits only: `1e3`, `20.5` and `+5` are more likely slips than numbers somebody meant. */
export function wholeNumber(min: number, max = 1_000_000_000) {
  return read(`a whole number from ${min} to ${max}`, (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : undefined;
  });
}

export const intervalOption = read(`one of ${INTERVALS.join(' ')}`, (value) =>
  isInterval(value) ? value : undefined,
);

/** Unix ms. Spans such as `5y` count back from this machine's clock. */
export const instantOption = read(
  'a date (2023-03-24), a time (2023-03-24T12:40Z), a span back (90m 36h 400d 6mo 5y) or now',
  (value) => parseInstant(value, Date.now()),
);

/** Milliseconds. */
export const spanOption = read('a span such as 90s 10m 36h 2d', parseSpan);

export const marketOption = z.enum(['spot', 'usdm'], { error: 'spot or usdm' });

export const flag = z.boolean().default(false);

/**
 * Reads symbol arguments, several to a word with commas.
 * @throws z.ZodError-style issues through `context`, one for each that is none.
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
        message: `!${JSON.stringify(word)} is no symbol here; wanted ${parsed.wanted}`,
      });
    } else if (!symbols.some((s) => s.market === parsed.market && nameOf(s) === nameOf(parsed))) {
      symbols.push(parsed);
    }
  }
  return symbols;
}

const nameOf = (name: SymbolName) => name.symbol ?? name.exchangeSymbol;

/** `--symbol`, `--market` and `--interval`: what a run is narrowed to. */
export const CHOICE_ARGS = {
  symbol: { type: 'string', description: 'Only these, with commas' },
  market: { type: 'string', description: 'Only this market: spot or usdm' },
  interval: { type: 'string', description: 'Only this interval' },
} as const satisfies ArgsDef;

export const choiceOptions = {
  symbol: z.string().optional(),
  market: marketOption.optional(),
  interval: intervalOption.optional(),
};

export interface Choice extends InstrumentFilter {
  interval: Interval | undefined;
}

export function readChoice(
  values: {
    symbol?: string | undefined;
    market?: Market | undefined;
    interval?: Interval | undefined;
  },
  context: RefinementCtx,
): Choice {
  const { symbol, market, interval } = values;
  return {
    symbols: symbol === undefined ? [] : readSymbols([symbol], market, context),
    market,
    interval,
  };
}
