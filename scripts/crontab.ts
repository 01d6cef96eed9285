import { resolve } from 'node:path';
import { PROJECT_DIR } from '../lib/base/mod.ts';
import {
  crontabBlock,
  defineScript,
  main,
  option,
  readCrontab,
  replaceBlock,
  writeCrontab,
} from '../lib/cli/mod.ts';

export const script = defineScript({
  name: 'crontab',
  summary:
    'Print or install crontab lines: update every minute; archive, verify and sync every night',
  examples: ['', '--install', '--archive-days 90 --log /var/log/klinekeep.log', '--uninstall'],
  options: {
    archiveDays: option
      .wholeNumber(1, 36_500)
      .default(365)
      .meta({ valueHint: 'days', description: 'Archive candles older than this many days' }),
    log: option.file.optional().meta({
      valueHint: 'file',
      description: 'Log file (default: klinekeep.log in the project)',
    }),
    install: option.flag.describe(
      'Add the lines to your crontab, or replace those of an earlier --install',
    ),
    uninstall: option.flag.describe(
      'Remove these lines from your crontab, and keep all other lines',
    ),
  },
  read({ archiveDays, log = resolve(PROJECT_DIR, 'klinekeep.log'), ...flags }, refuse) {
    if (flags.install && flags.uninstall) {
      refuse('--install and --uninstall are both given. Expected one of them, or none to print.');
    }
    return { archiveDays, log: resolve(log), ...flags };
  },
  async run({ install, uninstall, ...options }, context) {
    const block = crontabBlock(options);
    const lines = block.filter((line) => !line.startsWith('#'));
    if (!install && !uninstall) return { json: { lines }, text: block.join('\n') };
    const before = readCrontab(context.programEnv);
    const after = replaceBlock(before, install ? block : []);
    const isChanged = after !== before;
    if (isChanged) writeCrontab(after, context.programEnv);
    const json = { changed: isChanged, lines: install ? lines : [] };
    if (uninstall) {
      const text = isChanged
        ? 'Removed the lines from your crontab.'
        : 'Your crontab does not have these lines.';
      return { json, text };
    }
    const text = isChanged
      ? `Your crontab now has these ${lines.length} lines:\n\n${lines.join('\n')}`
      : 'Your crontab has these lines already.';
    return { json, text };
  },
});

await main(import.meta, script);
