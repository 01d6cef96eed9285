import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { PROJECT_DIR } from '../lib/base/settings.ts';
import { dropDatabase, emptyDatabase } from './support/database.ts';

/** Runs the files of tests/support/leaky in a Vitest of their own. */
async function runLeakyFiles(): Promise<{ exitCode: number; output: string }> {
  const vitest = resolve(PROJECT_DIR, 'node_modules/vitest/vitest.mjs');
  const config = resolve(PROJECT_DIR, 'tests/support/leaky/vitest.config.ts');
  const words = [vitest, 'run', '--config', config, '--no-color'];
  const env = { PATH: process.env.PATH };
  return await promisify(execFile)(process.execPath, words, { env }).then(
    ({ stdout, stderr }) => ({ exitCode: 0, output: stdout + stderr }),
    (error) => ({ exitCode: error.code, output: error.stdout + error.stderr }),
  );
}

describe('leak check', () => {
  test('fails a file that leaves a file, a timer, a server or a process', async () => {
    const { exitCode, output } = await runLeakyFiles();
    expect(output).toContain('FAIL  leaves-things.ts');
    expect(output).toContain('This file leaves behind:');
    expect(output).toContain('left.txt in the temporary folder');
    for (const type of ['Timeout', 'TCPServerWrap', 'ProcessWrap'])
      expect(output).toContain(`1 × ${type} `);
    expect(output).not.toContain('FAIL  leaves-nothing.ts');
    expect(output).toMatch(/Test Files +1 failed \| 1 passed/);
    expect(exitCode).toBe(1);
  });

  test('fails a test that leaves a session in its database', async () => {
    const url = await emptyDatabase();
    const session = postgres(url, { max: 1, connection: { application_name: 'left open' } });
    onTestFinished(() => session.end());
    await session`select 1`;
    await expect(dropDatabase(url, inject('server'), 500)).rejects.toThrow(
      /leaves sessions in its database: .*left open/,
    );
  });
});
