import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript, TSX_LOADER } from '../support/script.ts';
import { makeFolder, startExchange } from '../support/store.ts';

/** A `crontab` program that keeps its lines in a file. */
async function fakeCrontab(program = CRONTAB) {
  const folder = await makeFolder();
  const table = join(folder, 'table');
  await writeFile(join(folder, 'crontab'), program.replaceAll('TABLE', table));
  await chmod(join(folder, 'crontab'), 0o755);
  const env = { PATH: `${folder}:${process.env.PATH}` };
  const run = (...words: string[]) => runScript('crontab', words, env);
  const read = () => readFile(table, 'utf8').catch(() => undefined);
  return { run, read, write: (text: string) => writeFile(table, text) };
}

const CRONTAB = `#!/bin/sh
case "$1" in
  -l) if [ -f TABLE ]; then cat TABLE; else echo "no crontab for you" >&2; exit 1; fi ;;
  -) cat > TABLE ;;
  *) exit 2 ;;
esac
`;

test('crontab: prints absolute lines with a lock and names the time zone', async () => {
  const result = await runScript('crontab', [
    '--archive-days',
    '90',
    '--log',
    '/var/log/100%/k k.log',
  ]);
  const lines = result.stdout.trim().split('\n');
  expect(lines[0]).toBe(`# >>> klinekeep ${PROJECT_DIR}`);
  expect(lines.at(-1)).toBe(`# <<< klinekeep ${PROJECT_DIR}`);
  expect(lines[2]).toContain("Times are in this machine's time zone (");
  const jobs = lines.slice(3, -1);
  expect(jobs.map((line) => line.split(' ').slice(0, 5).join(' '))).toEqual([
    '* * * * *',
    '17 3 * * *',
    '37 3 * * *',
    '57 3 * * *',
  ]);
  for (const line of jobs) {
    expect(line).toContain(`/flock -n -E 75 ${PROJECT_DIR}scripts/`);
    expect(line).toContain(` ${process.execPath} --import ${TSX_LOADER} ${PROJECT_DIR}scripts/`);
    expect(line).toMatch(/ --quiet >> '\/var\/log\/100\\%\/k k\.log' 2>&1$/);
  }
  expect(jobs[1]).toContain('archive.ts 90 --quiet');
  expect(jobs[2]).toContain('verify-integrity.ts --from 7d --files --repair --quiet');
});

test('--install and --uninstall: keep all other lines unchanged', async () => {
  const { run, read, write } = await fakeCrontab();
  const others = '# mine\nMAILTO=me\n0 5 * * 1 tar czf /x.tgz /home\t# 100\\%\n\n@reboot true\n';
  await write(others);
  expect((await run('--install')).stdout).toContain('Your crontab now has these 4 lines');
  const installed = await read();
  expect(installed?.startsWith(others)).toBe(true);
  expect(installed?.match(/klinekeep/g)?.length).toBeGreaterThanOrEqual(2);

  expect((await run('--install')).stdout).toContain('Your crontab has these lines already.');
  expect(await read()).toBe(installed);
  // Lines that were added after ours stay there.
  await write(`${installed}1 1 1 1 1 false\n`);
  await run('--install', '--archive-days', '30');
  const changed = await read();
  expect(changed).toContain('archive.ts 30 --quiet');
  expect(changed).not.toContain('archive.ts 365');
  expect(changed?.endsWith('klinekeep '.concat(PROJECT_DIR, '\n1 1 1 1 1 false\n'))).toBe(true);

  expect((await run('--uninstall')).stdout).toBe('Removed the lines from your crontab.\n');
  expect(await read()).toBe(`${others}1 1 1 1 1 false\n`);
  expect((await run('--uninstall')).stdout).toBe('Your crontab does not have these lines.\n');
});

test('--install: creates a crontab; reports half a block, an error and no cron', async () => {
  const { run, read, write } = await fakeCrontab();
  expect((await run('--uninstall')).exitCode).toBe(EXIT.done);
  expect(await read()).toBeUndefined();
  await run('--install');
  const installed = (await read()) as string;
  expect(installed.split('\n')).toHaveLength(9);

  const half = installed.replace(/# <<<.*\n/, '');
  await write(half);
  const refused = await run('--install');
  expect(refused.exitCode).toBe(EXIT.config);
  expect(refused.stderr).toContain('the marker "# <<< klinekeep');
  expect(await read()).toBe(half);

  const failing = await fakeCrontab('#!/bin/sh\necho "you are not allowed" >&2\nexit 1\n');
  const failed = await failing.run('--install');
  expect(failed).toMatchObject({ exitCode: EXIT.failed });
  expect(failed.stderr).toContain('you are not allowed');

  const none = await runScript('crontab', ['--install'], { PATH: await makeFolder() });
  expect(none.exitCode).toBe(EXIT.config);
  expect(none.stderr).toContain('Cannot find the crontab program on this machine: spawn');
});

test('the lines: run as cron runs them, even with an odd log path', async () => {
  const { url } = await freshDatabase();
  const fake = await startExchange({ nowMs: Date.UTC(2024, 0, 10) });
  const log = join(await makeFolder("klinekeep 100% o'clock "), 'cron.log');
  const { stdout } = await runScript('crontab', ['--log', log]);
  const jobs = stdout.split('\n').filter((line) => /^[\d*]/.test(line));
  expect(jobs).toHaveLength(4);
  const runs = jobs.map((job) => {
    // cron takes \% for %, and gives the rest to sh with next to nothing in its environment.
    const command = job.split(' ').slice(5).join(' ').replaceAll('\\%', '%');
    const env = { DATABASE_URL: url, ...fake.env };
    return inEmptyEnvironment(['/bin/sh', '-c', command], env);
  });
  for (const result of await Promise.all(runs))
    expect(result).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(await readFile(log, 'utf8')).toBe('');
});

/** Each script with arguments for which it has work. */
const CALLS: Record<string, string[]> = {
  'sync-instruments': ['--market', 'spot'],
  'fetch-history': ['BTC/USDT', '--interval', '1h', '--since', '2024-01-01'],
  'update-klines': [],
  archive: ['3', '--as-of', '2024-01-10'],
  restore: ['BTC/USDT', '--from', '2024-01-02', '--to', '2024-01-03'],
  'archive-log': [],
  'verify-integrity': [],
  repairs: [],
  candles: ['BTC/USDT', '4h'],
  gaps: [],
  status: [],
  report: ['--output', 'REPORT'],
  metrics: [],
  crontab: [],
  completion: ['bash'],
  db: ['status'],
};

test('each script: runs from / with an empty environment, silently', async () => {
  const { url } = await freshDatabase();
  const fake = await startExchange({ nowMs: Date.UTC(2024, 0, 10) });
  const folder = await makeFolder();
  const env = { DATABASE_URL: url, KLINES_HOME: folder, ...fake.env };
  const calls = Object.entries(CALLS).map(([name, words]) => [
    name,
    [...words.map((word) => word.replace('REPORT', join(folder, 'report.html'))), '--quiet'],
  ]);
  const file = join(PROJECT_DIR, 'tests/support/several-scripts.ts');
  const command = [process.execPath, '--import', TSX_LOADER, file, JSON.stringify(calls)];
  const result = await inEmptyEnvironment(command, env);
  expect(result).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(await readdir(folder)).toContain('report.html');
});

async function inEmptyEnvironment(command: string[], env: Record<string, string>) {
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: '/',
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [[status], stdout, stderr] = await Promise.all([
    once(child, 'exit'),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { status, stdout, stderr };
}
