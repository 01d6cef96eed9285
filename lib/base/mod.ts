/** What knows neither Binance nor PostgreSQL: errors, time, retries, settings, text. */
export { writeWholeFile } from './atomic-file.ts';
export { configError, describeError, EXIT, type ExitCode, KlinekeepError } from './errors.ts';
export {
  alignDecimals,
  formatBytes,
  formatCount,
  formatRough,
  formatTable,
  truncate,
} from './format.ts';
export { createSemaphore, inParallel, type Semaphore } from './parallel.ts';
export { allowWaiters, retry, untilAborted, wait } from './retry.ts';
export { type Env, loadEnv, PROJECT_DIR } from './settings.ts';
export {
  addMonths,
  DAY_MS,
  formatDuration,
  formatShort,
  formatSpan,
  formatTime,
  parseInstant,
  parseSpan,
  spanForSql,
  startOfDay,
  startOfMonth,
  toUtc,
} from './time.ts';
export { z } from './zod.ts';
