import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { PROJECT_DIR } from '../lib/base/mod.ts';
import {
  bashCompletion,
  defineScript,
  fishCompletion,
  main,
  option,
  type Verb,
} from '../lib/cli/mod.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

export const script = defineScript({
  name: 'completion',
  summary: 'Print a completion script for your shell, for the verbs of just and their options',
  examples: ['bash > ~/.local/share/bash-completion/completions/just', 'zsh', 'fish'],
  options: {
    shell: option.oneOf(SHELLS).meta({ positional: true, description: SHELLS.join(', ') }),
  },
  read: (values) => values,
  async run({ shell }) {
    const verbs = await findVerbs();
    const text = shell === 'fish' ? fishCompletion(verbs) : bashCompletion(verbs);
    return { json: { shell, completion: text }, text: text.trimEnd() };
  },
});

/** Reads the verbs from the scripts. A verb of two words, such as `db adopt`, is left out. */
async function findVerbs(): Promise<Verb[]> {
  const files = readdirSync(resolve(PROJECT_DIR, 'scripts')).filter((file) => /^[a-z]/.test(file));
  const scripts = files.map(async (file): Promise<Verb> => {
    // This script cannot import itself while it runs.
    if (file === 'completion.ts') return script;
    const { href } = new URL(file, import.meta.url);
    return (await import(href)).script;
  });
  return (await Promise.all(scripts)).filter(({ name }) => !name.includes(' '));
}

await main(import.meta, script);
