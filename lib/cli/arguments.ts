import { parseArgs, stripVTControlCharacters } from 'node:util';
import { type ArgsDef, renderUsage } from 'citty';
import type { z } from 'zod';
import { KlinekeepError } from '../base/mod.ts';

/** What every script takes. */
export const COMMON_ARGS = {
  json: { type: 'boolean', description: 'One JSON object on stdout instead of text' },
  quiet: { type: 'boolean', description: 'Say nothing unless something is wrong' },
  help: { type: 'boolean', description: 'This text' },
} as const satisfies ArgsDef;

/** @throws KlinekeepError (64) for anything that the script does not know, or that says it twice. */
export function readWords(
  words: string[],
  args: ArgsDef,
): Record<string, string | boolean | string[] | undefined> {
  const named = Object.entries(args).filter(([, arg]) => arg.type !== 'positional');
  const takesPositionals = named.length < Object.keys(args).length;
  const { values, positionals, tokens } = parseStrictly(words, named);

  const given = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
  const twice = given.find((name, index) => given.indexOf(name) !== index);
  if (twice) throw usageError(`--${twice} is given twice`, 'Give it once.');
  if (!takesPositionals && positionals.length > 0) {
    throw usageError(
      `Surplus argument ${JSON.stringify(positionals[0])}`,
      'This script takes options only.',
    );
  }
  return takesPositionals ? { ...values, _: positionals } : { ...values };
}

function parseStrictly(words: string[], named: [string, ArgsDef[string]][]) {
  const options = Object.fromEntries(
    named.map(([name, arg]) => [
      name,
      { type: arg.type === 'boolean' ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  try {
    return parseArgs({ args: words, options, strict: true, allowPositionals: true, tokens: true });
  } catch (error) {
    const known = named.map(([name]) => `--${name}`).join(' ');
    throw usageError(
      (error as Error).message.split('. ')[0] as string,
      `This script knows ${known}`,
    );
  }
}

/** Issues whose message begins with ! say all there is to say; the others say what was wanted. */
export function readOptions<Options>(
  schema: z.ZodType<Options>,
  values: Record<string, unknown>,
): Options {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => {
    if (issue.message.startsWith('!')) return issue.message.slice(1);
    const name = String(issue.path[0]);
    const shown = values[name] === undefined ? 'is missing' : `is ${JSON.stringify(values[name])}`;
    return `--${name} ${shown}; wanted ${issue.message}`;
  });
  throw usageError(problems.join('\n'));
}

function usageError(message: string, hint?: string): KlinekeepError {
  return new KlinekeepError('usage', message, {
    hint: `${hint ? `${hint}\n` : ''}--help tells how it is used.`,
  });
}

export async function helpText(
  script: { name: string; summary: string; examples: readonly string[] },
  args: ArgsDef,
  colored: boolean,
): Promise<string> {
  const usage = await renderUsage({
    meta: { name: script.name, description: script.summary },
    args,
  });
  const calls = script.examples.map((example) => `  just ${script.name} ${example}`.trimEnd());
  const text = `${usage}\n\nEXAMPLES\n\n${calls.join('\n')}\n`;
  return colored ? text : stripVTControlCharacters(text);
}
