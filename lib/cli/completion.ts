import { INTERVALS } from '../market/mod.ts';
import { COMMON_ARGS } from './arguments.ts';
import type { Args, Script } from './script.ts';

/** A verb as a shell completes it. */
export type Verb = Pick<Script<unknown>, 'name' | 'summary' | 'args'>;

/** Options with a fixed set of values. The values of others are completed as file names. */
const VALUES: Record<string, readonly string[]> = {
  interval: INTERVALS,
  market: ['spot', 'usdm'],
  format: ['table', 'csv', 'ndjson'],
  source: ['auto', 'bulk', 'rest'],
};

function listOptions(verb: Verb) {
  const args: Args = { ...verb.args, ...COMMON_ARGS };
  return Object.entries(args)
    .filter(([, { type }]) => type !== 'positional')
    .map(([name, { type, description = '' }]) => ({ name, type, description }));
}

/** For bash, and for zsh through its bashcompinit. */
export function bashCompletion(verbs: readonly Verb[]): string {
  const options = verbs.map((verb) => {
    const names = listOptions(verb).map(({ name }) => `--${name}`);
    return `    ${verb.name}) options='${names.join(' ')}' ;;`;
  });
  const values = Object.entries(VALUES).map(
    ([name, all]) =>
      `    --${name}) COMPREPLY=($(compgen -W '${all.join(' ')}' -- "$word")); return ;;`,
  );
  return `# Completes klinekeep's verbs after just, in bash and zsh.
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
${options.join('\n')}
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
  const lines = verbs.flatMap((verb) => [
    `complete -c just -f -n __fish_use_subcommand -a ${verb.name} -d ${quote(verb.summary)}`,
    ...listOptions(verb).map(({ name, type, description }) => {
      const values = VALUES[name] ? ` -f -a ${quote(VALUES[name].join(' '))}` : '';
      const value = type === 'boolean' ? '' : ` -r${values}`;
      return `complete -c just -n '__fish_seen_subcommand_from ${verb.name}' -l ${name}${value} -d ${quote(description)}`;
    }),
  ]);
  return `# Completes klinekeep's verbs after just, in fish.\n${lines.join('\n')}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
