import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { PROJECT_DIR, z } from '../lib/base/mod.ts';
import { bashCompletion, fishCompletion, main, type Script, type Verb } from '../lib/cli/mod.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

interface Options {
  shell: (typeof SHELLS)[number];
}

export const script: Script<Options> = {
  name: 'completion',
  summary: 'Print a completion script for your shell, for the verbs of just and their options',
  examples: ['bash > ~/.local/share/bash-completion/completions/just', 'zsh', 'fish'],
  args: { shell: { type: 'positional', description: SHELLS.join(', '), required: true } },
  options: z.object({ _: z.array(z.string()) }).transform(({ _: words }, context) => {
    const shell = SHELLS.find((name) => name === words.join(' '));
    if (shell) return { shell };
    const found = words.length === 0 ? 'missing' : JSON.stringify(words.join(' '));
    const message = `The shell is ${found}; wanted one of ${SHELLS.join(' ')}`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  }),
  async run({ shell }) {
    const verbs = await findVerbs();
    const text = shell === 'fish' ? fishCompletion(verbs) : bashCompletion(verbs);
    return { json: { shell, completion: text }, text: text.trimEnd() };
  },
};

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
