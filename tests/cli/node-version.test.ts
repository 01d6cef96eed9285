import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';

const CHECK = resolve(PROJECT_DIR, 'lib/cli/node-version.cjs');

/** Runs the check as if Node were that old. */
const checkAs = (version: string) =>
  spawnSync(
    process.execPath,
    [
      '--eval',
      `Object.defineProperty(process.versions, 'node', { value: '${version}' }); require(${JSON.stringify(CHECK)})`,
    ],
    { encoding: 'utf8' },
  );

test.each(['12.22.9', '18.20.8', '20.18.3'])('Node %s: is refused in one line', (version) => {
  expect(checkAs(version)).toMatchObject({
    status: EXIT.config,
    stdout: '',
    stderr: `klinekeep: This is Node ${version}. Expected >=20.19.0. Install a newer one.\n`,
  });
});

test.each(['20.19.0', '20.20.2', '22.0.0', '26.1.0'])('Node %s: is accepted', (version) => {
  expect(checkAs(version)).toMatchObject({ status: EXIT.done, stdout: '', stderr: '' });
});

test('npm start, npm test and just: check the version before all else', async () => {
  const { scripts } = JSON.parse(await readFile(resolve(PROJECT_DIR, 'package.json'), 'utf8'));
  expect(scripts.prestart).toMatch(/^node lib\/cli\/node-version\.cjs && /);
  expect(scripts.pretest).toBe(scripts.prestart);
  expect(await readFile(resolve(PROJECT_DIR, 'Justfile'), 'utf8')).toMatch(
    /tsx := "node --require .+node-version\.cjs.+ --import /,
  );
});
