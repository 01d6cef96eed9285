import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Dispatcher } from 'undici';
import yauzl from 'yauzl';
import { createSemaphore, type Env, type Semaphore } from '../base/mod.ts';
import { ShutOutError, TransientError } from './answer.ts';
import { BadFileError, findCandles } from './bulk-csv.ts';
import type { BulkFile } from './bulk-files.ts';
import { createDispatcher, httpGet } from './http.ts';
import { retryTransient } from './retry.ts';

/** A file whose checksum was right. */
export interface BulkContent {
  /** Lines of 12 fields, without a header. A first line that is neither a header nor a candle stays. */
  csv: Buffer;
  sha256: string;
}

/** A month of 1m is 7 MB of CSV and 2 MB zipped. A file ten times as large cannot be one. */
const MAX_ZIP_BYTES = 32 * 1024 * 1024;
const MAX_CHECKSUM_BYTES = 4096;
const FILE_TIMEOUT_MS = 120_000;
/** About 10 MB each. One series does not use more. */
const FILES_AT_ONCE = 6;

const MAX_CSV_BYTES = 64 * 1024 * 1024;

const inflateRaw = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflateRaw);

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
    const [zip, wanted] = await Promise.all([
      getBytes(site, '', MAX_ZIP_BYTES, file, signal),
      publishedChecksum(site, file, signal),
    ]);
    if (zip === undefined) return undefined;
    if (wanted === undefined)
      throw new BadFileError(file, 'it cannot be verified, because it has no CHECKSUM');
    const sha256 = createHash('sha256').update(zip).digest('hex');
    if (wanted === sha256) {
      const csv = await unzip(zip, file);
      return { csv: csv.subarray(findCandles(csv, file)), sha256 };
    }
    if (attempt === 2)
      throw new BadFileError(file, 'its content does not match its CHECKSUM, twice');
  }
}

async function publishedChecksum(
  site: Site,
  file: BulkFile,
  signal: AbortSignal,
): Promise<string | undefined> {
  const text = await getBytes(site, '.CHECKSUM', MAX_CHECKSUM_BYTES, file, signal);
  return text?.toString('latin1').trim().split(/\s+/)[0]?.toLowerCase();
}

/** @param suffix what to add to the file's address */
async function getBytes(
  { baseUrl, dispatcher }: Site,
  suffix: string,
  maxBytes: number,
  file: BulkFile,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const url = `${baseUrl}/${file.path}${suffix}`;
  const { status, body } = await httpGet(url, dispatcher, signal, FILE_TIMEOUT_MS, maxBytes);
  if (status === 404) return undefined;
  if (status === 200) {
    if (body.length > maxBytes) throw new BadFileError(file, `larger than ${maxBytes} bytes`);
    return body;
  }
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

/** Unzips the file's only member, whose name must match the file's. */
async function unzip(zip: Buffer, file: BulkFile): Promise<Buffer> {
  const wanted = file.name.replace(/\.zip$/, '.csv');
  try {
    const archive = await promisify<Buffer, yauzl.Options, yauzl.ZipFile>(yauzl.fromBuffer)(zip, {
      lazyEntries: true,
    });
    if (archive.entryCount !== 1) throw new Error(`${archive.entryCount} members, wanted one`);
    const found = once(archive, 'entry');
    archive.readEntry();
    const [entry] = (await found) as [yauzl.Entry];
    if (entry.fileName !== wanted)
      throw new Error(`its member is ${entry.fileName}, wanted ${wanted}`);
    if (entry.uncompressedSize > MAX_CSV_BYTES)
      throw new Error(`${entry.uncompressedSize} bytes of CSV`);
    const size = entry.uncompressedSize;
    const open = promisify(archive.openReadStream.bind(archive) as unknown as OpenEntry);
    const stream = await open(entry, { decodeFileData: false });
    const raw = Buffer.concat(await stream.toArray());
    // In one piece and on another thread: a stream would return to this one for every 16 KiB.
    const csv =
      entry.compressionMethod === 0
        ? raw
        : await inflateRaw(raw, { chunkSize: Math.max(size, 64), maxOutputLength: size });
    if (csv.length !== size) throw new Error(`${csv.length} bytes, its directory says ${size}`);
    return csv;
  } catch (error) {
    throw new BadFileError(file, `not a valid zip: ${(error as Error).message}`);
  }
}

/** yauzl's types do not have the option yet. */
type OpenEntry = (
  entry: yauzl.Entry,
  options: { decodeFileData: false },
  done: (error: Error | null, stream: Readable) => void,
) => void;
