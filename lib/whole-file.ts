import { rename, rm, writeFile } from 'node:fs/promises';
import { describeError, KlinekeepError } from './errors.ts';

/**
 * Writes a file so that readers see the old one or the whole new one, never a part.
 * @throws KlinekeepError (1) when it cannot be written there; the old one is as it was.
 */
export async function writeWholeFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
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
