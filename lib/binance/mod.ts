/** Every request to the exchange, and the limits on them. */
export { isShutOut, ShutOutError, TransientError, UnknownSymbolError } from './answer.ts';
export { type BulkSource, createBulkSource } from './bulk.ts';
export type { BulkContent } from './bulk-content.ts';
export { BadFileError } from './bulk-csv.ts';
export { type BulkFile, dayFile, fileNamed, hasDailyFiles, monthFile } from './bulk-files.ts';
export type { ListedSymbol } from './exchange-info.ts';
export type { Pause, SharedPauses } from './pauses.ts';
export { createRestSource, type RawKline, type RestSource } from './rest.ts';
export { klinesWeight, PAGE_SIZE, WEIGHT_PER_MINUTE } from './weights.ts';
