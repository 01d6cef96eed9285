import { parseArgs, stripVTControlCharacters } from 'node:util';
import { type ArgsDef, renderUsage } from 'citty';
import { KlinekeepError } from '../base/mod.ts';
import { type Args, type Script, toTyped } from './script.ts';

/** The options of every script. */
export const COMMON_ARGS = {
  json: { type: 'boolean', description: 'Print one JSON object instead of text' },
  quiet: { type: 'boolean', description: 'Print only findings, warnings and errors' },
  help: { type: 'boolean', description: 'Print this text' },
} as const satisfies ArgsDef;

/**
 * Reads the words that were typed after a script's name.
 * @returns the values of options and arguments, by their names in the code: `dryRun`
 * @throws KlinekeepError (64) for an unknown option, one given twice, or a surplus argument.
 */
export function readWords(words: string[], args: Args): Record<string, unknown> {
  const isNamed = ([, { type }]: [string, Args[string]]) => type !== 'positional';
  const named = Object.entries(args).filter(isNamed);
  const { values, positionals, tokens } = parseStrictly(words, named);
  const given = tokens.flatMap((token) => (token.kind === 'option' ? [token.name] : []));
  const twice = given.find((name, index) => given.indexOf(name) !== index);
  if (twice) throw usageError(`--${twice} is given twice`, 'Give it only once.');

  const left = [...positionals];
  const read: Record<string, unknown> = {};
  for (const [name, { type, isList }] of Object.entries(args)) {
    if (type !== 'positional') read[toCamelCase(name)] = values[name];
    else if (left.length > 0) read[name] = isList ? left.splice(0) : left.shift();
  }
  if (left.length > 0) {
    const isPositional = (name: string) => args[name]?.type === 'positional';
    const known = Object.keys(args).filter(isPositional);
    const list = new Intl.ListFormat('en').format([...known.map(toLabel), 'options']);
    throw usageError(
      `Unexpected argument ${JSON.stringify(left[0])}`,
      `This script takes only ${list}.`,
    );
  }
  return read;
}

function parseStrictly(words: string[], named: [string, Args[string]][]) {
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
 * Checks and converts typed values. An issue of one option says only what was expected; an issue of
 * several together is a whole sentence.
 * @throws KlinekeepError (64) with one line for each issue.
 */
export function readOptions<Options>(
  { args, options }: Pick<Script<Options>, 'args' | 'options'>,
  values: Record<string, unknown>,
): Options {
  const parsed = options.safeParse(values);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path: [name], message }) => {
    if (typeof name !== 'string') return message;
    const value = values[name];
    const label = args[name]?.type === 'positional' ? toLabel(name) : `--${toTyped(name)}`;
    const found = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`;
    return `${label} ${found}. Expected ${message}.`;
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

/** A positional argument as the help text names it. */
function toLabel(name: string): string {
  return name.toUpperCase();
}

/** `dry-run` to `dryRun`. */
function toCamelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
