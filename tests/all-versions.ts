/** Runs all tests on every supported PostgreSQL. Words go to vitest: `npm run test:all-versions -- candles`. */
import { spawnSync } from 'node:child_process';
import { fetchVersion } from './support/versions.ts';

const versions = (process.env.KLINEKEEP_TEST_VERSIONS ?? '18,14,15,16,17').split(',');
// 13 is too old, and klinekeep has to say so.
for (const major of [...versions, '13']) await fetchVersion(major);

const { status } = spawnSync('npx', ['vitest', 'run', ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, KLINEKEEP_TEST_VERSIONS: versions.join(',') },
});
process.exitCode = status ?? 1;
