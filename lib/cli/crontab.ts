import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, resolve } from 'node:path';
import { EXIT, KlinekeepError, PROJECT_DIR } from '../base/mod.ts';

/** flock's exit code while the previous run has not finished: our code for "try again later". */
const STILL_RUNNING = EXIT.later;

export interface CrontabOptions {
  archiveDays: number;
  /** Absolute path of the file to which the scripts' output is appended. */
  log: string;
}

/** cron uses the machine's time zone. */
const timeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The scripts and their times in the machine's time zone: long ones at night, one by one. */
function schedule(archiveDays: number): [when: string, script: string, ...words: string[]][] {
  return [
    ['* * * * *', 'update-klines'],
    ['17 3 * * *', 'archive', String(archiveDays)],
    // With --repair, a candle that Binance corrected after update had stored it is right the next night.
    ['37 3 * * *', 'verify-integrity', '--from', '7d', '--files', '--repair'],
    ['57 3 * * *', 'sync-instruments'],
  ];
}

/**
 * Makes the crontab lines of this checkout, and a marker line before and after them.
 * @throws KlinekeepError (78) when a path contains a line break, which no crontab can hold.
 */
export function crontabBlock({ archiveDays, log }: CrontabOptions): string[] {
  const flock = findProgram('flock');
  const loader = resolve(PROJECT_DIR, 'node_modules/tsx/dist/loader.mjs');
  const lines = schedule(archiveDays).map(([when, script, ...words]) => {
    const file = resolve(PROJECT_DIR, `scripts/${script}.ts`);
    const command = [
      // Locks the script's own file, so no lock files are needed.
      ...(flock ? [flock, '-n', '-E', String(STILL_RUNNING), file] : []),
      ...[process.execPath, '--import', loader, file, ...words, '--quiet'],
    ];
    return `${when} ${escapePercent(`${command.map(quote).join(' ')} >> ${quote(log)} 2>&1`)}`;
  });
  const block = [
    beginMarker(),
    '# Made by just crontab --install, which replaces everything between the two marker lines.',
    `# Times are in this machine's time zone (${timeZone()}); candles are always in UTC.`,
    ...lines,
    endMarker(),
  ];
  if (block.some((line) => line.includes('\n'))) {
    throw new KlinekeepError('config', 'Cannot make crontab lines: a path contains a line break.', {
      hint: 'Move the checkout, or use another --log.',
    });
  }
  return block;
}

/** Several checkouts may share a crontab. */
const beginMarker = () => `# >>> klinekeep ${PROJECT_DIR}`;
const endMarker = () => `# <<< klinekeep ${PROJECT_DIR}`;

/**
 * Replaces our block in the text of a crontab, or adds it at the end.
 * @param block the lines with their markers; empty: the block is removed
 * @throws KlinekeepError (78) when only one of the two markers is found.
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
      `Cannot change the crontab: the marker "${begin < 0 ? beginMarker() : endMarker()}" is missing or misplaced.`,
      {
        hint: 'Nothing was changed. With crontab -e, add the missing marker or remove the other one.',
      },
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
  throw crontabError('-l', stderr);
}

/** @throws KlinekeepError (78) when there is no crontab program, (1) when it refuses. */
export function writeCrontab(text: string, env: NodeJS.ProcessEnv): void {
  const { status, stderr } = runCrontab(['-'], text, env);
  if (status !== 0) throw crontabError('-', stderr);
}

function runCrontab(words: string[], input: string, env: NodeJS.ProcessEnv) {
  // The C locale makes it print English, so that "no crontab" is recognized.
  const result = spawnSync('crontab', words, {
    input,
    encoding: 'utf8',
    env: { ...process.env, ...env, LC_ALL: 'C' },
  });
  if (!result.error) return result;
  throw new KlinekeepError('config', 'Cannot find the crontab program on this machine.', {
    hint: 'Install cron, or print the lines (without --install) and add them to your own scheduler.',
    cause: result.error,
  });
}

function crontabError(word: string, stderr: string): KlinekeepError {
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

/** For sh, which cron uses. */
function quote(word: string): string {
  return /^[\w@+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** cron ends the command at a % and passes the rest to its standard input. */
function escapePercent(command: string): string {
  return command.replaceAll('%', '\\%');
}
