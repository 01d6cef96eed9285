import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { runScript } from '../support/script.ts';

/** What bash offers for the words of a line, the last one begun. */
async function offers(...words: string[]): Promise<string[]> {
  const { stdout } = await runScript('completion', ['bash']);
  const line = words.map((word) => `'${word}'`).join(' ');
  const program = `just() { echo 'fetch archive candles'; }
${stdout}
COMP_WORDS=(just ${line}); COMP_CWORD=${words.length}
_klinekeep_just
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const result = spawnSync('bash', ['--norc', '-c', program], { encoding: 'utf8', cwd: '/' });
  expect(result.stderr).toBe('');
  return result.stdout.trim().split('\n');
}

test.skipIf(!existsSync('/bin/bash'))('bash: completes verbs, options and values', async () => {
  expect(await offers('ca')).toEqual(['candles']);
  expect(await offers('candles', '--f')).toEqual(['--from', '--format']);
  expect(await offers('archive', '365', '--dry')).toEqual(['--dry-run']);
  expect(await offers('update', '--interval', '1')).toEqual([
    '1s',
    '1m',
    '15m',
    '1h',
    '12h',
    '1d',
    '1w',
    '1M',
  ]);
  expect(await offers('candles', 'BTC/USDT', '1h', '--format', 'n')).toEqual(['ndjson']);
});

test('zsh, fish: get their code; another shell is refused', async () => {
  expect((await runScript('completion', ['zsh'])).stdout).toContain('bashcompinit');
  const fish = (await runScript('completion', ['fish'])).stdout;
  expect(fish).toContain("'__fish_seen_subcommand_from fetch' -l since -r");
  const refused = await runScript('completion', ['tcsh']);
  expect(refused.exitCode).toBe(EXIT.usage);
  expect(refused.stderr).toContain('SHELL is "tcsh". Expected bash, zsh, or fish.');
});
