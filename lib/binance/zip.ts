import { once } from 'node:events';
import { pipeline, type Readable } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import yauzl from 'yauzl';

/** The only member of a zip. */
export interface ZipMember {
  name: string;
  /** Its uncompressed size, as the zip's directory states it. */
  size: number;
  /** @throws Error when it is not of that size */
  read(): Promise<Buffer>;
  /** The same in pieces, each of about a megabyte; can be called again. */
  stream(): AsyncGenerator<Buffer>;
  /** Ends the streams that are still read. */
  close(): void;
}

const inflateRaw = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflateRaw);
const PIECE_BYTES = 1024 * 1024;

/**
 * Opens a zip with one member.
 * @param zip a buffer, or the descriptor of an open file
 * @throws Error when it is not such a zip
 */
export async function openZip(zip: Buffer | number): Promise<ZipMember> {
  const options = { lazyEntries: true, autoClose: false };
  const archive = await (typeof zip === 'number'
    ? promisify<number, yauzl.Options, yauzl.ZipFile>(yauzl.fromFd)(zip, options)
    : promisify<Buffer, yauzl.Options, yauzl.ZipFile>(yauzl.fromBuffer)(zip, options));
  if (archive.entryCount !== 1) throw new Error(`${archive.entryCount} members, wanted one`);
  const found = once(archive, 'entry');
  archive.readEntry();
  const [entry] = (await found) as [yauzl.Entry];
  const size = entry.uncompressedSize;
  const isStored = entry.compressionMethod === 0;
  const streams = new Set<Readable>();
  const open = async (): Promise<Readable> => {
    const openEntry = promisify(archive.openReadStream.bind(archive) as unknown as OpenEntry);
    const stream = await openEntry(entry, { decodeFileData: false });
    streams.add(stream.on('close', () => streams.delete(stream)));
    return stream;
  };

  return {
    name: entry.fileName,
    size,
    async read() {
      const raw = Buffer.concat(await (await open()).toArray());
      // In one piece and on another thread: a stream would return to this one for every 16 KiB.
      const content = isStored
        ? raw
        : await inflateRaw(raw, { chunkSize: Math.max(size, 64), maxOutputLength: size });
      if (content.length !== size) throw new Error(wrongSize(content.length, size));
      return content;
    },
    async *stream() {
      const raw = await open();
      const pieces = isStored
        ? raw
        : pipeline(raw, zlib.createInflateRaw({ chunkSize: PIECE_BYTES }), () => {});
      let done = 0;
      for await (const piece of pieces) {
        done += piece.length;
        if (done > size) throw new Error(wrongSize(done, size));
        yield piece;
      }
      if (done < size) throw new Error(wrongSize(done, size));
    },
    close() {
      for (const stream of streams) stream.destroy();
    },
  };
}

function wrongSize(found: number, stated: number): string {
  return `${found} bytes, its directory says ${stated}`;
}

/** yauzl's types do not have the option yet. */
type OpenEntry = (
  entry: yauzl.Entry,
  options: { decodeFileData: false },
  done: (error: Error | null, stream: Readable) => void,
) => void;
