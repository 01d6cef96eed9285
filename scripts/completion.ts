import { z } from '../lib/base/mod.ts';
import {
  bashCompletion,
  type Described,
  fishCompletion,
  main,
  readVerbs,
  type Script,
} from '../lib/cli/mod.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;

interface Options {
  shell: (typeof SHELLS)[number];
}

export const script: Script<Options> = {
  name: 'completion',
  summary: 'What your shell needs to complete the verbs and their options behind just',
  examples: ['bash > ~/.local/share/bash-completion/completions/just', 'zsh', 'fish'],
  args: { shell: { type: 'positional', description: SHELLS.join(', '), required: true } },
  options: z.object({ _: z.array(z.string()) }).transform(({ _: words }, context) => {
    const shell = SHELLS.find((name) => name === words[0]);
    if (!shell || words.length > 1) {
      const found = words.length === 0 ? 'missing' : JSON.stringify(words.join(' '));
      context.addIssue({
        code: 'custom',
        message: `!The shell is ${found}; wanted one of ${SHELLS.join(' ')}`,
      });
    }
    return { shell: shell ?? 'bash' };
  }),
  async run({ shell }) {
    const verbs = await readVerbs(describe);
    const text = shell === 'fish' ? fishCompletion(verbs) : bashCompletion(verbs);
    return { json: { shell, completion: text }, text: text.trimEnd() };
  },
};

/** This script cannot import itself while it runs. */
async function describe(name: string): Promise<Described> {
  if (name === script.name) return script;
  const file = new URL(`${name}.ts`, import.meta.url).href;
  return (await import(file)).script;
}

await main(import.meta, script);
