import type { Dispatcher } from 'undici';
import { createSemaphore, type Env, type Semaphore } from '../base/mod.ts';
import { ShutOutError, TransientError } from './answer.ts';
import { type BulkContent, readZip } from './bulk-content.ts';
import { BadFileError } from './bulk-csv.ts';
import type { BulkFile } from './bulk-files.ts';
import { createDispatcher, httpGet, readAll } from './http.ts';
import { retryTransient } from './retry.ts';
import { type Spooled, spool } from './spool.ts';

/**
 * A month of 1m is 2 MB, a day of 1s twice as large: both are kept in memory. A month of 1s is sixty
 * times as large, and goes to a temporary file.
 */
const MEMORY_ZIP_BYTES = 8 * 1024 * 1024;
/** Twice a month of 1s. A larger file cannot be one of candles. */
const MAX_ZIP_BYTES = 256 * 1024 * 1024;
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
