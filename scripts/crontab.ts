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
    'Print or install crontab lines: update every minute; archive, verify and sync every night',
  examples: ['', '--install', '--archive-days 90 --log /var/log/klinekeep.log', '--uninstall'],
  args: {
    'archive-days': {
      type: 'string',
      valueHint: 'days',
      description: 'Archive candles older than this many days',
      default: '365',
    },
    log: {
      type: 'string',
      valueHint: 'file',
      description: 'Log file (default: klinekeep.log in the project)',
    },
    install: {
      type: 'boolean',
      description: 'Add the lines to your crontab, or replace those of an earlier --install',
    },
    uninstall: {
      type: 'boolean',
      description: 'Remove these lines from your crontab, and keep all other lines',
    },
  },
  options: z
    .object({
      'archive-days': wholeNumber(1, 36_500).default(365),
      log: z.string().min(1, 'the name of a file').optional(),
      install: flag,
      uninstall: flag,
    })
    .refine((options) => !(options.install && options.uninstall), {
      message: '--install and --uninstall are both given; wanted one of them, or none to print',
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
        ? `Your crontab now has these ${lines.length} lines:\n\n${lines.join('\n')}`
        : 'Your crontab has these lines already.',
      uninstall: isChanged
        ? 'Removed the lines from your crontab.'
        : 'Your crontab does not have these lines.',
    }[options.action];
    return { json: { changed: isChanged, lines: options.action === 'install' ? lines : [] }, text };
  },
};

await main(import.meta, script);
