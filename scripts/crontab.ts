import { resolve } from 'node:path';
import { PROJECT_DIR, z } from '../lib/base/mod.ts';
import {
  crontabBlock,
  flag,
  main,
  readCrontab,
  replaceBlock,
  type Script,
  wholeNumber,
  writeCrontab,
} from '../lib/cli/mod.ts';

interface Options {
  archiveDays: number;
  log: string;
  action: 'print' | 'install' | 'uninstall';
}

export const script: Script<Options> = {
  name: 'crontab',
  summary:
    'The crontab lines of this checkout: update every minute; archive, verify and sync every night',
  examples: ['', '--install', '--archive-days 90 --log /var/log/klinekeep.log', '--uninstall'],
  args: {
    'archive-days': {
      type: 'string',
      valueHint: 'days',
      description: 'How many days stay in the main tables',
      default: '365',
    },
    log: {
      type: 'string',
      valueHint: 'file',
      description: 'What the scripts say goes there (default: klinekeep.log in the project)',
    },
    install: { type: 'boolean', description: 'Put the lines into your crontab, or replace them' },
    uninstall: { type: 'boolean', description: 'Take them out again; other lines stay' },
  },
  options: z
    .object({
      'archive-days': wholeNumber(1, 36_500).default(365),
      log: z.string().min(1, 'the name of a file').optional(),
      install: flag,
      uninstall: flag,
    })
    .refine((options) => !(options.install && options.uninstall), {
      message: '!--install and --uninstall are both given; wanted one of them, or none to print',
    })
    .transform((options) => ({
      archiveDays: options['archive-days'],
      log: options.log ? resolve(options.log) : resolve(PROJECT_DIR, 'klinekeep.log'),
      action: options.install ? 'install' : options.uninstall ? 'uninstall' : 'print',
    })),
  async run(options, context) {
    const block = crontabBlock(options);
    const lines = block.filter((line) => !line.startsWith('#'));
    if (options.action === 'print') return { json: { lines }, text: block.join('\n') };
    const before = readCrontab(context.programEnv);
    const after = replaceBlock(before, options.action === 'install' ? block : []);
    if (after !== before) writeCrontab(after, context.programEnv);
    const isChanged = after !== before;
    const text = {
      install: isChanged
        ? `${lines.length} lines are in your crontab now:\n\n${lines.join('\n')}`
        : 'They were in your crontab already.',
      uninstall: isChanged ? 'Taken out of your crontab.' : 'They were not in your crontab.',
    }[options.action];
    return { json: { changed: isChanged, lines: options.action === 'install' ? lines : [] }, text };
  },
};

await main(import.meta, script);
