/**
 * A script that has been loaded and waits: `warm-script.ts NAME` says "ready", and runs when a line
 * of JSON with its words and its environment arrives. So that a test of kills spends its time on work.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { execute } from '../../lib/cli/main.ts';

const { script } = await import(`../../scripts/${process.argv[2]}.ts`);
process.stdout.write('ready\n');
const [line] = await once(createInterface(process.stdin), 'line');
const { words, env } = JSON.parse(line);
process.exitCode = await execute(script, words, {
  env,
  stdout: process.stdout,
  stderr: process.stderr,
});
process.exit();
