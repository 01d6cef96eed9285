/** Where the candles of a bulk file's CSV begin. */
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
