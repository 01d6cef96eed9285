import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { describeError, KlinekeepError } from './errors.ts';

/**
 * Writes a file so that readers see the old text or the whole new one, never a part. A device or a
 * pipe is written in place, because a rename would replace it: as root, even /dev/null.
 * @throws KlinekeepError (1) when the file cannot be written; an old one is unchanged.
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
    throw new KlinekeepError('failed', `Cannot write ${path}: ${describeError(error)}`, {
      hint: 'Expected: a file in a folder that exists and that you may write to.',
      cause: error,
    });
  }
}
