import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ArgsDef } from 'citty';
import { PROJECT_DIR } from '../base/mod.ts';
import { INTERVALS } from '../market/mod.ts';
import { COMMON_ARGS } from './arguments.ts';

/** A recipe of the Justfile that runs a script, with what the script takes. */
export interface Verb {
  recipe: string;
  script: string;
  summary: string;
  options: { name: string; description: string; takesValue: boolean }[];
}

/** Values that an option is one of; the others complete to file names. */
const VALUES: Record<string, readonly string[]> = {
  interval: INTERVALS,
  market: ['spot', 'usdm'],
  format: ['table', 'csv', 'ndjson'],
  source: ['auto', 'bulk', 'rest'],
};

/** What a script says of itself. */
export interface Described {
  summary: string;
  args: ArgsDef;
}

/**
 * The verbs in the order of the Justfile.
 * @param describe looks into a script
 */
export async function readVerbs(describe: (script: string) => Promise<Described>): Promise<Verb[]> {
  const scripts = new Set(readdirSync(resolve(PROJECT_DIR, 'scripts')));
  const verbs: Verb[] = [];
  for (const { recipe, script } of readRecipes()) {
    if (!scripts.has(`${script}.ts`)) continue;
    const described = await describe(script);
    const args: ArgsDef = { ...described.args, ...COMMON_ARGS };
    const options = Object.entries(args)
      .filter(([, arg]) => arg.type !== 'positional')
      .map(([name, arg]) => ({
        name,
        description: arg.description ?? '',
        takesValue: arg.type !== 'boolean',
      }));
    verbs.push({ recipe, script, summary: described.summary, options });
  }
  return verbs;
}

function readRecipes(): { recipe: string; script: string }[] {
  const justfile = readFileSync(resolve(PROJECT_DIR, 'Justfile'), 'utf8');
  const matches = justfile.matchAll(/^@?([\w-]+)[^\n]*:\n[^\n]*\{\{ scripts \}\}\/([\w-]+)\.ts/gm);
  return [...matches].map(([, recipe, script]) => ({
    recipe: recipe as string,
    script: script as string,
  }));
}

/** For bash, and for zsh through its bashcompinit. */
export function bashCompletion(verbs: readonly Verb[]): string {
  const cases = verbs.map(
    ({ recipe, options }) =>
      `    ${recipe}) options='${options.map(({ name }) => `--${name}`).join(' ')}' ;;`,
  );
  const values = Object.entries(VALUES).map(
    ([name, all]) =>
      `    --${name}) COMPREPLY=($(compgen -W '${all.join(' ')}' -- "$word")); return ;;`,
  );
  return `# Completion of klinekeep's verbs behind just, for bash and zsh.
if [ -n "\${ZSH_VERSION-}" ]; then
  autoload -Uz compinit bashcompinit && compinit && bashcompinit
fi

_klinekeep_just() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" options=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "$(just --summary 2>/dev/null)" -- "$word"))
    return
  fi
  case "$before" in
${values.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}

complete -F _klinekeep_just just
`;
}

export function fishCompletion(verbs: readonly Verb[]): string {
  const lines = verbs.flatMap(({ recipe, summary, options }) => [
    `complete -c just -f -n __fish_use_subcommand -a ${recipe} -d ${quote(summary)}`,
    ...options.map(({ name, description, takesValue }) => {
      const values = VALUES[name] ? ` -f -a ${quote(VALUES[name].join(' '))}` : '';
      const value = takesValue ? ` -r${values}` : '';
      return `complete -c just -n '__fish_seen_subcommand_from ${recipe}' -l ${name}${value} -d ${quote(description)}`;
    }),
  ]);
  return `# Completion of klinekeep's verbs behind just, for fish.\n${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
