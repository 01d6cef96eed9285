/** The kinds of options. The issue for an invalid value says what was expected. */
import { formatShort, parseInstant, parseSpan, z } from '../base/mod.ts';
import {
  INTERVALS,
  type Interval,
  type Market,
  parseSymbol,
  type SymbolName,
} from '../market/mod.ts';
import type { InstrumentFilter } from '../store/mod.ts';
import type { Refuse } from './script.ts';

function readText<T>(expected: string, parse: (value: string) => T | undefined) {
  return z.string({ error: expected }).transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: expected });
    return z.NEVER;
  });
}

/** Digits only: `1e3`, `20.5` and `+5` are more likely typing mistakes. */
function wholeNumber(min: number, max = 1_000_000_000) {
  return readText(`a whole number from ${min} to ${max}`, (value) => {
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
    return number >= min && number <= max ? number : undefined;
  });
}

const listing = new Intl.ListFormat('en', { type: 'disjunction' });

function oneOf<const Choice extends string>(choices: readonly Choice[]) {
  return z.enum(choices, { error: listing.format(choices) });
}

export const option = {
  flag: z.boolean().default(false),
  wholeNumber,
  oneOf,
  interval: oneOf(INTERVALS),
  market: oneOf(['spot', 'usdm']),
  /** Unix ms. Spans such as `5y` count back from this machine's clock. */
  instant: readText(
    'a date (2023-03-24), a time (2023-03-24T12:40Z), a span back (90m 36h 400d 6mo 5y) or now',
    (value) => parseInstant(value, Date.now()),
  ),
  /** Milliseconds. */
  span: readText('a span such as 90s 10m 36h 2d', parseSpan),
  file: z.string().min(1, 'a file name'),
  text: z.string(),
  /** One word, for `readSymbol`. */
  symbol: z.string({ error: 'a symbol such as BTC/USDT' }),
  /** One word or more, for `readSymbols`. */
  symbols: z.array(z.string(), { error: 'one symbol or more, such as BTC/USDT' }),
};

/** Refuses a range such as `{ from, to }` whose start is not before its end. */
export function checkOrder(range: Record<string, number | undefined>, refuse: Refuse): void {
  const [[start, startMs], [end, endMs]] = Object.entries(range) as [
    [string, number | undefined],
    [string, number | undefined],
  ];
  if (startMs === undefined || endMs === undefined || startMs < endMs) return;
  refuse(`--${start} ${formatShort(startMs)} is not before --${end} ${formatShort(endMs)}`);
}

/**
 * Reads symbols from words; a word may hold several, separated by commas.
 * @param refuse called for each that is not a symbol
 * @returns each symbol once
 */
export function readSymbols(
  words: readonly string[],
  market: Market | undefined,
  refuse: Refuse,
): SymbolName[] {
  const symbols: SymbolName[] = [];
  for (const word of words.flatMap((each) => each.split(','))) {
    const parsed = parseSymbol(word.trim(), market);
    if ('wanted' in parsed)
      refuse(`${JSON.stringify(word)} is not a symbol. Expected ${parsed.wanted}.`);
    else if (!symbols.some((s) => s.market === parsed.market && anyName(s) === anyName(parsed)))
      symbols.push(parsed);
  }
  return symbols;
}

const anyName = (name: SymbolName) => name.symbol ?? name.exchangeSymbol;

export function readSymbol(word: string, market: Market | undefined, refuse: Refuse): SymbolName {
  const [symbol, ...others] = readSymbols([word], market, refuse);
  if (others.length > 0) refuse(`${word} is more than one symbol. Expected one.`);
  return symbol ?? z.NEVER;
}

/** `--symbol`, `--market` and `--interval`, which limit a run to some series. */
export const FILTER_OPTIONS = {
  symbol: option.text.optional().describe('Only these symbols, separated by commas'),
  market: option.market.optional().describe('Only this market: spot or usdm'),
  interval: option.interval.optional().describe('Only this interval'),
};

export interface Filter extends InstrumentFilter {
  interval: Interval | undefined;
}

interface FilterValues {
  symbol?: string | undefined;
  market?: Market | undefined;
  interval?: Interval | undefined;
}

export function readFilter({ symbol, market, interval }: FilterValues, refuse: Refuse): Filter {
  const symbols = symbol === undefined ? [] : readSymbols([symbol], market, refuse);
  return { symbols, market, interval };
}
