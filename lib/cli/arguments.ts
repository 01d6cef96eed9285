import { parseArgs, stripVTControlCharacters } from 'node:util';
import { type ArgsDef, renderUsage } from 'citty';
import type { z } from 'zod';
import { KlinekeepError } from '../base/mod.ts';

/** The options of every script. */
export const COMMON_ARGS = {
  json: { type: 'boolean', description: 'Print one JSON object instead of text' },
  quiet: { type: 'boolean', description: 'Print only findings, warnings and errors' },
  help: { type: 'boolean', description: 'Print this text' },
} as const satisfies ArgsDef;

/** @throws KlinekeepError (64) for an unknown option, one given twice, or a surplus argument. */
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
      'This script takes only options.',
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
    const [found = ''] = (error as Error).message.split('. ');
    throw usageError(found, `Known options: ${known}`);
  }
}

/**
 * Checks and converts typed values. An issue of one option says only what was wanted; an issue of the
 * positional words (`_`), or of several options together, is a whole sentence.
 * @throws KlinekeepError (64) with one line for each issue.
 */
export function readOptions<Options>(
  schema: z.ZodType<Options>,
  values: Record<string, unknown>,
): Options {
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path: [name = '_'], message }) => {
    if (name === '_') return message;
    const value = values[String(name)];
    const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`;
    return `--${String(name)} ${found}; wanted ${message}`;
  });
  throw usageError(problems.join('\n'));
}

function usageError(message: string, hint?: string): KlinekeepError {
  return new KlinekeepError('usage', message, {
    hint: `${hint ? `${hint}\n` : ''}See --help.`,
  });
}

export async function helpText(
  script: { name: string; summary: string; examples: readonly string[] },
  args: ArgsDef,
  colored: boolean,
): Promise<string> {
  const usage = await renderUsage({
    meta: { name: `just ${script.name}`, description: script.summary },
    args,
  });
  const calls = script.examples.map((example) => `  just ${script.name} ${example}`.trimEnd());
  const text = `${usage}\n\nEXAMPLES\n\n${calls.join('\n')}\n`;
  return colored ? text : stripVTControlCharacters(text);
}
