import { createHash } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configError, describeError } from '../base/mod.ts';

/** What was downloaded: a buffer, or the descriptor of a temporary file if it is large. */
export interface Spooled {
  content: Buffer | number;
  sha256: string;
  /** Deletes the temporary file. Can be called again. */
  dispose(): void;
}

/**
 * Reads a body to its end.
 * @param limits.memoryBytes a longer body is written to a temporary file
 * @returns undefined when it is longer than `limits.maxBytes`
 * @throws KlinekeepError (78) when the temporary file cannot be written
 */
export async function spool(
  body: AsyncIterable<Buffer>,
  limits: { memoryBytes: number; maxBytes: number },
): Promise<Spooled | undefined> {
  const hash = createHash('sha256');
  const chunks: Buffer[] = [];
  let size = 0;
  let file: FileHandle | undefined;
  let isComplete = false;
  const dispose = () => void file?.close().catch(() => {});
  try {
    for await (const chunk of body) {
      size += chunk.length;
      if (size > limits.maxBytes) return undefined;
      hash.update(chunk);
      chunks.push(chunk);
      if (size > limits.memoryBytes) file = await write(file, Buffer.concat(chunks.splice(0)));
    }
    isComplete = true;
    const content = file ? file.fd : Buffer.concat(chunks, size);
    return { content, sha256: hash.digest('hex'), dispose };
  } finally {
    if (!isComplete) dispose();
  }
}

/** Adds to a temporary file. @param file undefined: a new one */
async function write(file: FileHandle | undefined, data: Buffer): Promise<FileHandle> {
  try {
    const written = file ?? (await createUnnamed());
    await written.writeFile(data);
    return written;
  } catch (error) {
    throw configError(
      `Cannot write a temporary file to ${tmpdir()}: ${describeError(error)}`,
      'Large bulk files need up to 150 MB each there. Free some space, or set TMPDIR to another folder.',
      error,
    );
  }
}

/** A file without a name: it disappears when it is closed, or when this process is killed. */
async function createUnnamed(): Promise<FileHandle> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-'));
  try {
    return await open(join(folder, 'download'), 'wx+', 0o600);
  } finally {
    await rm(folder, { recursive: true });
  }
}
