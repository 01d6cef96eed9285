import type { ArgsDef } from 'citty';
import type { output, ZodObject, ZodType } from 'zod';
import { type ExitCode, z } from '../base/mod.ts';
import type { Context } from './context.ts';

/** What a script returns: `json` or `text` is printed to stdout. */
export interface Outcome {
  exitCode?: ExitCode;
  /** For `--json`: one object. */
  json: Record<string, unknown>;
  /** For people. Undefined: nothing is printed. */
  text?: string;
}

export interface Script<Options> {
  /** The verb, as a person types it: `fetch`. */
  name: string;
  summary: string;
  /** Arguments of example calls, without the script's name. */
  examples: readonly string[];
  /** Describes the options for the help text, the parser and shell completion: `dry-run`. */
  args: Args;
  /** Checks and converts the typed values, which have the names of the code: `dryRun`. */
  options: ZodType<Options>;
  /** Whether it writes to the database: then it fails at once on one that it cannot write to. */
  writes?(options: Options): boolean;
  run(options: Options, context: Context): Promise<Outcome>;
}

export type Args = Record<string, ArgsDef[string] & { isList?: boolean }>;

/** Rejects the typed values. The message is a whole sentence. */
export type Refuse = (message: string) => void;

interface Definition<Shape extends Record<string, ZodType>, Options>
  extends Omit<Script<Options>, 'args' | 'options'> {
  /**
   * The options by name, each with its description as the last part of its schema. `meta` may also
   * have a `valueHint`, the `default` to show, or `positional` for a word without a name.
   */
  options: Shape;
  /** Makes the options from values that are valid one by one, and checks them together. */
  read(values: output<ZodObject<Shape>>, refuse: Refuse): Options;
}

/** Makes a script from one definition of each option. */
export function defineScript<Shape extends Record<string, ZodType>, Options>({
  options,
  read,
  ...script
}: Definition<Shape, Options>): Script<Options> {
  const args = Object.entries(options).map(([name, schema]) => [toTyped(name), toArg(schema)]);
  return {
    ...script,
    args: Object.fromEntries(args),
    options: z
      .object(options)
      .transform((values, context) =>
        read(values, (message) => context.addIssue({ code: 'custom', message })),
      ),
  };
}

function toArg(schema: ZodType): Args[string] {
  const { description = '', valueHint, positional, default: shown } = schema.meta() ?? {};
  if (positional) {
    const isOptional = schema instanceof z.ZodDefault;
    const word = isOptional ? (schema.def.innerType as ZodType) : schema;
    const isList = word.def.type === 'array';
    return { type: 'positional', description, required: !isOptional, isList };
  }
  const { defaultValue = shown } = schema.def as { defaultValue?: unknown };
  if (typeof defaultValue === 'boolean') return { type: 'boolean', description };
  return {
    type: 'string',
    description,
    ...(valueHint === undefined ? {} : { valueHint: String(valueHint) }),
    ...(defaultValue === undefined ? {} : { default: String(defaultValue) }),
  };
}

/** `dryRun` to `dry-run`. */
export function toTyped(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
