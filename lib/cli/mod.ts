/** What all scripts share: arguments, options, context, log, progress, and how they end. */
export { bashCompletion, fishCompletion, type Verb } from './completion.ts';
export type { Context } from './context.ts';
export { crontabBlock, readCrontab, replaceBlock, writeCrontab } from './crontab.ts';
export { main, type Outcome, type Script } from './main.ts';
export {
  FILTER_ARGS,
  type Filter,
  filterOptions,
  flag,
  instantOption,
  intervalOption,
  marketOption,
  readFilter,
  readSymbols,
  spanOption,
  wholeNumber,
} from './options.ts';
