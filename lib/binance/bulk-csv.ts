/** The lines of a bulk file's CSV. */
import { KlinekeepError } from '../base/mod.ts';
import type { BulkFile } from './bulk-files.ts';

/** A file that must not be loaded, and why. Other sources may have its candles. */
export class BadFileError extends KlinekeepError {
  constructor(file: BulkFile, found: string) {
    super('data', `${file.name}: ${found}`, { hint: 'No row of the file was stored.' });
  }
}

const BYTE_ORDER_MARK = Buffer.from('\ufeff');
/** Newer USDⓈ-M files begin with a header. The names of the columns after these vary. */
const COLUMNS = 'open_time,open,high,low,close,volume,close_time,';
/** A line of a candle is at most 300 bytes long. */
const MAX_LINE_BYTES = 1024 * 1024;
/** A header is about a hundred bytes long. */
const MAX_HEADER_BYTES = 1024;

/**
 * The position of the first line that is not a header, after a byte order mark if there is one.
 * @param csv at least the first two lines, or all of it
 * @throws BadFileError when the columns are in another order
 */
export function findCandles(csv: Buffer, file: BulkFile): number {
  const hasMark = csv.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
  const start = hasMark ? BYTE_ORDER_MARK.length : 0;
  const head = csv.toString('latin1', start, start + MAX_HEADER_BYTES);
  const line = head.split('\n', 1)[0] as string;
  const names = line.trim().toLowerCase().replaceAll('"', '');
  if (!names.startsWith('open_time')) return start;
  if (!names.startsWith(COLUMNS))
    throw new BadFileError(file, `its columns are ${names.slice(0, 200)}, expected ${COLUMNS}…`);
  return Math.min(start + line.length + 1, csv.length);
}

/**
 * Cuts a text at its line ends instead of anywhere.
 * @throws BadFileError when a line is too long for a file of candles
 */
export async function* splitIntoLines(
  pieces: AsyncIterable<Buffer>,
  file: BulkFile,
): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of pieces) {
    const end = piece.lastIndexOf('\n') + 1;
    if (end > 0) yield Buffer.concat([rest, piece.subarray(0, end)]);
    rest = end > 0 ? piece.subarray(end) : Buffer.concat([rest, piece]);
    if (rest.length > MAX_LINE_BYTES)
      throw new BadFileError(file, `a line is longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (rest.length > 0) yield rest;
}
