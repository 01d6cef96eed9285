/** What all scripts share: arguments, options, context, log, progress, and how they end. */
export { bashCompletion, fishCompletion, type Verb } from './completion.ts';
export type { Context } from './context.ts';
export { crontabBlock, readCrontab, replaceBlock, writeCrontab } from './crontab.ts';
export { main } from './main.ts';
export {
  checkOrder,
  FILTER_OPTIONS,
  type Filter,
  option,
  readFilter,
  readSymbol,
  readSymbols,
} from './options.ts';
export { defineScript, type Outcome, type Refuse } from './script.ts';
