import type { Dispatcher } from 'undici';
import { allowWaiters, createSemaphore, type Env, type Semaphore } from '../base/mod.ts';
import { ShutOutError, TransientError } from './answer.ts';
import { BadFileError, findCandles, splitIntoLines } from './bulk-csv.ts';
import type { BulkFile } from './bulk-files.ts';
import { createDispatcher, httpGet, readAll } from './http.ts';
import { retryTransient } from './retry.ts';
import { type Spooled, spool } from './spool.ts';
import { openZip, type ZipMember } from './zip.ts';

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

/**
 * A month of 1m is 7 MB of CSV and 2 MB zipped, a day of 1s twice as large: both are kept in memory. A
 * month of 1s is sixty times as large, and is read in pieces.
 */
const MEMORY_ZIP_BYTES = 8 * 1024 * 1024;
const MEMORY_CSV_BYTES = 24 * 1024 * 1024;
/** Twice a month of 1s. A larger file cannot be one of candles. */
const MAX_ZIP_BYTES = 256 * 1024 * 1024;
const MAX_CSV_BYTES = 1024 * 1024 * 1024;
const MAX_CHECKSUM_BYTES = 4096;
const FILE_TIMEOUT_MS = 600_000;
/** About 10 MB of memory each, and 32 MB at the most. One series does not use more. */
const FILES_AT_ONCE = 6;

/** data.binance.vision, or a stand-in for it. */
export interface BulkSource {
  /** A place for each file from its download until it is stored: all series share the memory. */
  semaphore: Semaphore;
  /**
   * @returns undefined when there is no such file
   * @throws BadFileError when it must not be loaded; TransientError when no complete answer came
   */
  download(file: BulkFile, signal: AbortSignal): Promise<BulkContent | undefined>;
  /** The checksum that is published for a file now; undefined: there is none. */
  checksum(file: BulkFile, signal: AbortSignal): Promise<string | undefined>;
  close(): Promise<void>;
}

interface Site {
  baseUrl: string;
  dispatcher: Dispatcher;
}

/** @param onWait called before each retry */
export function createBulkSource(env: Env, onWait: (message: string) => void): BulkSource {
  const site: Site = { baseUrl: env.bulkUrl, dispatcher: createDispatcher(env.httpsProxy) };
  return {
    semaphore: createSemaphore(FILES_AT_ONCE),
    download: (file, signal) =>
      retryTransient(() => downloadFile(site, file, signal), { signal, onWait }),
    checksum: (file, signal) =>
      retryTransient(() => publishedChecksum(site, file, signal), { signal, onWait }),
    close: () => site.dispatcher.destroy(),
  };
}

/**
 * Downloads a file and verifies its checksum before it is opened. On a mismatch both are fetched once
 * more: after a republication the checksum can still be the old one.
 */
async function downloadFile(
  site: Site,
  file: BulkFile,
  signal: AbortSignal,
): Promise<BulkContent | undefined> {
  for (let attempt = 1; ; attempt++) {
    // If one of the two fails, the other one is not left behind.
    const [zip, wanted] = await Promise.allSettled([
      getZip(site, file, signal),
      publishedChecksum(site, file, signal),
    ]);
    const spooled = zip.status === 'fulfilled' ? zip.value : undefined;
    try {
      if (zip.status === 'rejected') throw zip.reason;
      if (wanted.status === 'rejected') throw wanted.reason;
      if (!spooled) return undefined;
      if (wanted.value === undefined)
        throw new BadFileError(file, 'it cannot be verified, because it has no CHECKSUM');
      if (wanted.value === spooled.sha256) return await readZip(spooled, file, signal);
      if (attempt === 2)
        throw new BadFileError(file, 'its content does not match its CHECKSUM, twice');
      spooled.dispose();
    } catch (error) {
      spooled?.dispose();
      throw error;
    }
  }
}

async function publishedChecksum(
  site: Site,
  file: BulkFile,
  signal: AbortSignal,
): Promise<string | undefined> {
  const text = await get(site, file, '.CHECKSUM', signal, (body) =>
    readAll(body, MAX_CHECKSUM_BYTES),
  );
  return text?.toString('latin1').trim().split(/\s+/)[0]?.toLowerCase();
}

function getZip(site: Site, file: BulkFile, signal: AbortSignal): Promise<Spooled | undefined> {
  const limits = { memoryBytes: MEMORY_ZIP_BYTES, maxBytes: MAX_ZIP_BYTES };
  return get(site, file, '', signal, async (body) => {
    const spooled = await spool(body, limits);
    if (!spooled) throw new BadFileError(file, `larger than ${MAX_ZIP_BYTES} bytes`);
    return spooled;
  });
}

/**
 * @param suffix what to add to the file's address
 * @returns undefined when there is no such file
 */
async function get<Body>(
  { baseUrl, dispatcher }: Site,
  file: BulkFile,
  suffix: string,
  signal: AbortSignal,
  readBody: (body: AsyncIterable<Buffer>) => Promise<Body>,
): Promise<Body | undefined> {
  const url = `${baseUrl}/${file.path}${suffix}`;
  const { status, body } = await httpGet(
    url,
    dispatcher,
    signal,
    FILE_TIMEOUT_MS,
    async (stream, status) => {
      if (status === 200) return await readBody(stream);
      await readAll(stream, MAX_CHECKSUM_BYTES);
      return undefined;
    },
  );
  if (status === 200) return body;
  if (status === 404) return undefined;
  if (status === 403 || status === 451) {
    throw new ShutOutError(
      'unavailable',
      `Binance refuses to serve bulk files to this location (${status} at ${url}).`,
      {
        hint: 'Retrying does not help. Use --source rest, or another network.',
      },
    );
  }
  throw new TransientError(`${new URL(url).host} answered ${status} for ${file.name}.`);
}

/** Unzips a file, or prepares that where it is large. The zip's only member must have the file's name. */
async function readZip(
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
