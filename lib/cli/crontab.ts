import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import { KlinekeepError, PROJECT_DIR } from '../base/mod.ts';

/** What flock exits with when the last run is still at it: come back later, as our scripts say it. */
const STILL_RUNNING = 75;

export interface CrontabOptions {
  archiveDays: number;
  /** Absolute path; what the scripts say is appended to it. */
  log: string;
}

/** `crontab`'s own times are those of the machine. */
const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** When what runs, in the machine's time: the heavy ones at night, one after the other. */
function schedule(archiveDays: number): [when: string, script: string, ...words: string[]][] {
  return [
    ['* * * * *', 'update-klines'],
    ['17 3 * * *', 'archive', String(archiveDays)],
    ['37 3 * * *', 'verify-integrity', '--from', '7d'],
    ['57 3 * * *', 'sync-instruments'],
  ];
}

/**
 * The crontab lines of this checkout, between their markers.
 * @throws KlinekeepError (78) when a path has a line break in it, which no crontab can hold.
 */
export function crontabBlock({ archiveDays, log }: CrontabOptions): string[] {
  const flock = findProgram('flock');
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  const lines = schedule(archiveDays).map(([when, script, ...words]) => {
    const file = resolve(PROJECT_DIR, `scripts/${script}.ts`);
    const command = [
      // The script itself is what is locked: no more files to keep.
      ...(flock ? [flock, '-n', '-E', String(STILL_RUNNING), file] : []),
      ...[process.execPath, '--import', loader, file, ...words, '--quiet'],
    ];
    return `${when} ${escapePercent(`${command.map(quote).join(' ')} >> ${quote(log)} 2>&1`)}`;
  });
  const block = [
    beginMarker(),
    `# Made by crontab.ts --install, which replaces what stands between these two lines.`,
    `# Times are those of this machine (${timeZone()}); candles are UTC whatever its zone.`,
    ...lines,
    endMarker(),
  ];
  if (block.some((line) => line.includes('\n'))) {
    throw new KlinekeepError(
      'config',
      'A path has a line break in it, which no crontab can hold.',
      {
        hint: 'Move the checkout, or name another --log.',
      },
    );
  }
  return block;
}

/** Several checkouts may share a crontab. */
const beginMarker = () => `# >>> klinekeep ${PROJECT_DIR}`;
const endMarker = () => `# <<< klinekeep ${PROJECT_DIR}`;

/**
 * The lines of a crontab with our block replaced, where it was or at the end.
 * @param block nothing: our block is taken out
 * @throws KlinekeepError (78) when one of the two markers is missing; nothing is changed then.
 */
export function replaceBlock(crontab: string, block: readonly string[]): string {
  const lines = crontab.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const begin = lines.indexOf(beginMarker());
  const end = lines.indexOf(endMarker());
  if (begin < 0 && end < 0) return joinLines([...lines, ...block]);
  if (begin < 0 || end < begin) {
    throw new KlinekeepError(
      'config',
      `The crontab has ${begin < 0 ? 'no line' : 'no second line after'} "${begin < 0 ? beginMarker() : endMarker()}"; nothing was changed.`,
      { hint: 'Put the missing marker back, or take the other one out, with crontab -e.' },
    );
  }
  return joinLines([...lines.slice(0, begin), ...block, ...lines.slice(end + 1)]);
}

function joinLines(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

/** @throws KlinekeepError (78) when there is no crontab program, (1) when it refuses. */
export function readCrontab(env: NodeJS.ProcessEnv): string {
  const { status, stdout, stderr } = runCrontab(['-l'], '', env);
  if (status === 0) return stdout;
  if (/no crontab/i.test(stderr)) return '';
  throw refused('-l', stderr);
}

/** @throws KlinekeepError (78) when there is no crontab program, (1) when it refuses. */
export function writeCrontab(text: string, env: NodeJS.ProcessEnv): void {
  const { status, stderr } = runCrontab(['-'], text, env);
  if (status !== 0) throw refused('-', stderr);
}

function runCrontab(words: string[], input: string, env: NodeJS.ProcessEnv) {
  // Its messages in English, and where to find it.
  const result = spawnSync('crontab', words, {
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env, LC_ALL: 'C' },
  });
  if (!result.error) return result;
  throw new KlinekeepError('config', 'There is no crontab program on this machine.', {
    hint: 'Install cron, or give the lines that this prints without --install to what you have.',
    cause: result.error,
  });
}

function refused(word: string, stderr: string): KlinekeepError {
  return new KlinekeepError('failed', `crontab ${word} failed: ${stderr.trim()}`, {
    hint: 'Nothing was changed.',
  });
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/bin'];
  return folders
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => resolve(folder, name))
    .find((file) => existsSync(file));
}

/** For sh, which is what cron uses. */
function quote(word: string): string {
  return /^[\w@+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** cron ends the command at a % and hands the rest to its standard input. */
function escapePercent(command: string): string {
  return command.replaceAll('%', '\\%');
}
