/**
 * Runs several scripts in one process: `several-scripts.ts '[["status", []], …]'`. Prints what they print,
 * and the names of those that fail.
 */
import { execute } from '../../lib/cli/main.ts';

for (const [name, words] of JSON.parse(process.argv[2] as string)) {
  const { script } = await import(`../../scripts/${name}.ts`);
  const exitCode = await execute(script, words, process);
  if (exitCode !== 0) process.stderr.write(`${name} ended with ${exitCode}\n`);
}
