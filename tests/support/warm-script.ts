/**
 * Loads a script and waits: `warm-script.ts NAME` prints "ready" and runs the script when a line of JSON
 * with its arguments and environment arrives. A test that kills scripts does not wait for their start.
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
