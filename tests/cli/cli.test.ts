import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { retry } from '../../lib/base/retry.ts';
import { loadEnv, PROJECT_DIR } from '../../lib/base/settings.ts';
import { createProgress } from '../../lib/cli/progress.ts';
import { runScript, startScript } from '../support/script.ts';

const SCRIPTS = (await readdir(resolve(PROJECT_DIR, 'scripts')))
  .filter((name) => !name.startsWith('_'))
  .map((name) => name.replace('.ts', ''));
const just = (...words: string[]) =>
  spawnSync(resolve(PROJECT_DIR, 'node_modules/.bin/just'), words, {
    cwd: PROJECT_DIR,
    encoding: 'utf8',
  });

test.each(SCRIPTS)('%s --help: prints options and examples, and opens nothing', async (name) => {
  const result = await runScript(name, ['--help']);
  expect(result).toMatchObject({ exitCode: EXIT.done, stderr: '' });
  expect(result.stdout).toContain('--json');
  expect(result.stdout).toMatch(/EXAMPLES\n\n {2}just /);
  expect(result.stdout).not.toContain('\u001b');
});

test.each([
  ['update-klines', ['surplus'], 'Unexpected argument "surplus"'],
  ['update-klines', ['--limit', '-5'], "Option '--limit"],
  ['update-klines', ['--limit', '1e3'], '--limit is "1e3". Expected a whole number'],
  ['update-klines', ['--limit', '5', '--limit', '6'], '--limit is given twice'],
  ['update-klines', ['--force=yes'], "Option '--force' does not take an argument"],
  ['update-klines', ['--symbol', 'BTC/USDT', '--market', 'usdm'], 'BTC/USDT:USDT'],
  ['update-klines', ['--market', 'coinm'], '--market is "coinm". Expected spot or usdm.'],
  ['fetch-history', [], 'SYMBOL is missing. Expected one symbol or more'],
  ['fetch-history', ['BTC/USDT', '--interval', '7m'], '--interval is "7m". Expected 1s, 1m, 3m'],
  [
    'fetch-history',
    ['BTC/USDT', '--since', '2023-02-30'],
    '--since is "2023-02-30". Expected a date',
  ],
  [
    'fetch-history',
    ['BTC/USDT', '--since', '2024-01-01', '--until', '2023-01-01'],
    'is not before --until',
  ],
  ['fetch-history', [''], '"" is not a symbol. Expected a symbol'],
  ['fetch-history', ['B T C'], 'Expected a symbol such as BTC/USDT'],
  ['sync-instruments', ['--quote', 'USDT'], '--quote is given without --market'],
  ['restore', ['BTC/USDT'], '--from is missing. Expected a date (2023-03-24)'],
  ['db', ['restart'], 'ACTION is "restart". Expected start, stop, status, psql, or url.'],
  ['db', [], 'ACTION is missing. Expected start, stop, status, psql, or url.'],
] as const)(
  '%s %j: is refused with 64, what was found and expected',
  async (name, words, found) => {
    const result = await runScript(name, words);
    expect(result.exitCode).toBe(EXIT.usage);
    expect(result.stderr).toContain(found);
  },
);

test('--json: prints a failure as one JSON object, and the text to stderr', async () => {
  const result = await runScript('archive', ['abc', '--json']);
  expect(JSON.parse(result.stdout)).toMatchObject({
    exitCode: EXIT.usage,
    error: expect.stringContaining('DAYS'),
  });
  expect(result.stderr).toContain('DAYS');
});

test('an invalid setting: is refused with 78 and its name', async () => {
  const result = await runScript('verify-integrity', [], { BINANCE_USDM_URL: 'fapi.binance.com' });
  expect(result.exitCode).toBe(EXIT.config);
  expect(result.stderr).toContain('BINANCE_USDM_URL is "fapi.binance.com"');
});

test('an empty setting: counts as unset', () => {
  expect(loadEnv({ DATABASE_URL: '', BINANCE_SPOT_URL: '' })).toMatchObject({
    databaseUrl: undefined,
    spotUrl: 'https://api.binance.com',
    klinesHome: resolve(PROJECT_DIR, '.klines'),
  });
});

test('just: lists the verbs, and refuses archive abc before opening anything', async () => {
  expect(just().stdout).toContain('archive days');
  const refused = just('archive', 'abc');
  expect(refused.status).toBe(EXIT.usage);
  expect(refused.stderr).toContain('DAYS is "abc"');
  expect(refused.stderr).not.toContain('recipe');
});

test('without DATABASE_URL: a script starts the embedded server, db stops it', async () => {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-cli-'));
  spawnSync('chmod', ['711', home]);
  onTestFinished(() => rm(home, { recursive: true, force: true }));
  const env = { DATABASE_URL: '', KLINES_HOME: home };
  expect((await runScript('db', ['status'], env)).stdout).toContain('no database yet');
  const verified = await runScript('verify-integrity', [], env);
  expect(verified.stdout).toContain('0 series');
  expect((await runScript('db', ['status'], env)).stdout).toContain('running: PostgreSQL 18');
  expect((await runScript('db', ['url'], env)).stdout).toMatch(
    /^postgres:\/\/klinekeep:.+@127\.0\.0\.1:\d+\/klines\n$/,
  );
  expect((await runScript('db', ['stop'], env)).stdout).toBe('stopped\n');
});

test('a log: gets no bar, and no line for a short task', () => {
  const lines: string[] = [];
  const progress = createProgress((line) => lines.push(line));
  progress.start(100, 'candles');
  for (let at = 0; at < 100; at++) progress.advance(1, `at ${at}`);
  progress.stop();
  expect(lines).toEqual([]);
  expect(progress.position).toBe('at 99');
});

test('retry(): gives up after its attempts, or at once if not transient', async () => {
  let calls = 0;
  const failing = () => {
    calls += 1;
    return Promise.reject(new Error(`call ${calls}`));
  };
  const options = { attempts: 3, firstDelayMs: 1, isTransient: () => true };
  await expect(retry(failing, options)).rejects.toThrow('call 3');
  await expect(retry(failing, { ...options, isTransient: () => false })).rejects.toThrow('call 4');
});

test('db psql: gives psql the password where no other user can read it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-psql-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const seen = join(folder, 'seen');
  await writeFile(join(folder, 'psql'), `#!/bin/sh\necho "$PGPASSWORD: $*" > ${seen}\n`, {
    mode: 0o755,
  });
  const env = { DATABASE_URL: 'postgres://u:secret@h/db', PATH: `${folder}:${process.env.PATH}` };
  expect((await startScript('db', ['psql', '--command', 'select 1'], env).result).exitCode).toBe(
    EXIT.done,
  );
  expect(await readFile(seen, 'utf8')).toBe('secret: --command select 1 postgres://u@h/db\n');
});

test('an invalid setting: is printed without its password', async () => {
  const { exitCode, stderr } = await runScript('status', [], {
    HTTPS_PROXY: 'ftp://u:secret@proxy',
  });
  expect(exitCode).toBe(EXIT.config);
  expect(stderr).toContain('HTTPS_PROXY is "ftp://***@proxy"');
});

test('db status: names the server of DATABASE_URL, without its password', async () => {
  const DATABASE_URL = 'postgres://u:secret@h:5433/candles';
  const { exitCode, stdout } = await runScript('db', ['status'], {
    DATABASE_URL,
    KLINES_HOME: '/nowhere',
  });
  expect(exitCode).toBe(EXIT.done);
  expect(stdout).toBe(
    'DATABASE_URL is in use: u@h:5433/candles\nThe embedded server is not: no database yet in /nowhere\n',
  );
});
