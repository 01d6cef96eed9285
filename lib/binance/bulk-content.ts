/** The candles of a bulk file: in memory, or read in pieces if it is large. */
import { allowWaiters } from '../base/mod.ts';
import { BadFileError, findCandles, splitIntoLines } from './bulk-csv.ts';
import type { BulkFile } from './bulk-files.ts';
import type { Spooled } from './spool.ts';
import { openZip, type ZipMember } from './zip.ts';

/** A month of 1m is 7 MB of CSV, a day of 1s twice as large. */
const MEMORY_CSV_BYTES = 24 * 1024 * 1024;
/** Twice a month of 1s. A larger file cannot be one of candles. */
const MAX_CSV_BYTES = 1024 * 1024 * 1024;

/** A file whose checksum was right. */
export interface BulkContent {
  /**
   * Lines of 12 fields, without a header. A first line that is neither a header nor a candle stays.
   * @throws BadFileError if the file is too large for the memory: then there are `pieces`
   */
  readonly csv: Buffer;
  /**
   * Reads a large file in pieces, each of whole lines; can be called again.
   * @throws BadFileError when the file turns out to be damaged
   */
  pieces?: () => AsyncGenerator<Buffer>;
  sha256: string;
  /** Deletes the temporary file of a large one. Aborting the signal of the download does the same. */
  dispose(): void;
}

/** Unzips a file, or prepares that where it is large. The zip's only member must have the file's name. */
export async function readZip(
  spooled: Spooled,
  file: BulkFile,
  signal: AbortSignal,
): Promise<BulkContent> {
  const { content, sha256 } = spooled;
  const wanted = file.name.replace(/\.zip$/, '.csv');
  const member = await valid(file, async () => {
    const opened = await openZip(content);
    if (opened.name !== wanted) throw new Error(`its member is ${opened.name}, wanted ${wanted}`);
    if (opened.size > MAX_CSV_BYTES) throw new Error(`${opened.size} bytes of CSV`);
    return opened;
  });
  if (typeof content !== 'number' && member.size <= MEMORY_CSV_BYTES) {
    const csv = await valid(file, () => member.read());
    return { csv: csv.subarray(findCandles(csv, file)), sha256, dispose: () => {} };
  }
  const dispose = () => {
    signal.removeEventListener('abort', dispose);
    member.close();
    spooled.dispose();
  };
  signal.throwIfAborted();
  allowWaiters(signal);
  signal.addEventListener('abort', dispose);
  return {
    get csv(): Buffer {
      throw new BadFileError(file, 'too large to be read in one piece');
    },
    pieces: () => readPieces(member, file),
    sha256,
    dispose,
  };
}

async function* readPieces(member: ZipMember, file: BulkFile): AsyncGenerator<Buffer> {
  const pieces = splitIntoLines(member.stream(), file);
  let isFirst = true;
  while (true) {
    const { done, value } = await valid(file, () => pieces.next());
    if (done) return;
    yield isFirst ? value.subarray(findCandles(value, file)) : value;
    isFirst = false;
  }
}

/** @throws BadFileError when the work fails */
async function valid<T>(file: BulkFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BadFileError) throw error;
    throw new BadFileError(file, `not a valid zip: ${(error as Error).message}`);
  }
}
