import { alignDecimals, formatShort, formatTable, formatTime } from '../lib/base/mod.ts';
import type { Candle } from '../lib/read/mod.ts';

/** The columns of csv and ndjson; named as in all_klines. */
const COLUMNS = {
  open_time: (candle) => formatTime(candle.openMs),
  close_time: (candle) => formatTime(candle.closeMs),
  open_price: (candle) => candle.open,
  high_price: (candle) => candle.high,
  low_price: (candle) => candle.low,
  close_price: (candle) => candle.close,
  volume: (candle) => candle.volume,
  quote_volume: (candle) => candle.quoteVolume,
  trades_count: (candle) => candle.trades,
  taker_buy_volume: (candle) => candle.takerBuyVolume,
  taker_buy_quote_volume: (candle) => candle.takerBuyQuoteVolume,
  parts: (candle) => candle.parts,
  wanted_parts: (candle) => candle.wantedParts,
} satisfies Record<string, (candle: Candle) => string | number>;

const READERS = Object.entries(COLUMNS);

export const CSV_HEAD = READERS.map(([name]) => name).join(',');

/** A candle by the names of its columns. */
export function toJsonCandle(candle: Candle): Record<string, string | number> {
  return Object.fromEntries(READERS.map(([name, read]) => [name, read(candle)]));
}

export const FORMAT_LINE = {
  csv: (candle: Candle) => READERS.map(([, read]) => read(candle)).join(','),
  ndjson: (candle: Candle) => JSON.stringify(toJsonCandle(candle)),
} as const;

/** Formats candles as a table; the column `parts` is there if any is incomplete. */
export function formatCandles(candles: readonly Candle[]): string {
  if (candles.length === 0) return 'No candles in this range.';
  const hasIncomplete = candles.some(isIncomplete);
  const columns = (['open', 'high', 'low', 'close', 'volume'] as const).map((name) =>
    alignDecimals(
      name,
      candles.map((candle) => candle[name]),
    ),
  );
  const rows = candles.map((candle, index) => [
    formatShort(candle.openMs),
    ...columns.map((column) => column.cells[index] as string),
    ...(hasIncomplete ? [formatParts(candle)] : []),
  ]);
  const head = ['time (UTC)', ...columns.map((column) => column.head)];
  return formatTable(hasIncomplete ? [...head, 'parts'] : head, rows);
}

function formatParts(candle: Candle): string {
  return isIncomplete(candle) ? `${candle.parts} of ${candle.wantedParts}` : '';
}

export function isIncomplete({ parts, wantedParts }: Candle): boolean {
  return parts < wantedParts;
}
