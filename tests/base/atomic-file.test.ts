import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { writeWholeFile } from '../../lib/base/atomic-file.ts';

test('writeWholeFile(): writes into a pipe without replacing it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-pipe-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const [text] = await Promise.all([
    // Without the fix nobody ever writes to the pipe.
    Promise.race([readFile(pipe, 'utf8'), sleep(5_000, undefined, { ref: false })]),
    writeWholeFile(pipe, 'a report'),
  ]);
  expect((await stat(pipe)).isFIFO()).toBe(true);
  expect(text).toBe('a report');
});
