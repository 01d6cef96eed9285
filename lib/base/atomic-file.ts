import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { describeError, KlinekeepError } from './errors.ts';

/**
 * Writes a file so that readers see the old one or the whole new one, never a part. What is no
 * regular file, such as a device or a pipe, is written to in place: a rename would replace it, and
 * for root even /dev/null would become a file.
 * @throws KlinekeepError (1) when it cannot be written there; the old one is as it was.
 */
export async function writeWholeFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const existing = await stat(path).catch(() => undefined);
    if (existing && !existing.isFile()) return await writeFile(path, text);
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw new KlinekeepError('failed', `${path} cannot be written: ${describeError(error)}`, {
      hint: 'Name a file in a folder that exists and may be written, with --output.',
      cause: error,
    });
  }
}
