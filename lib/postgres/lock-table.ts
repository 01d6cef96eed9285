import { KlinekeepError } from '../base/mod.ts';
import { SQLSTATE } from './sqlstate.ts';

/**
 * Whether PostgreSQL's lock table was full. All sessions share it, so there may be room again as soon
 * as another session ends its transaction.
 */
export function isLockTableFull(error: unknown): boolean {
  return fullTable(error) !== undefined;
}

/** Explains the error if the lock table was full. @returns other errors unchanged */
export function explainFullLockTable(error: unknown): unknown {
  const found = fullTable(error);
  if (found === undefined || error instanceof FullLockTable) return error;
  return new FullLockTable(found.setting, found.error);
}

class FullLockTable extends KlinekeepError {
  constructor(setting: string, cause: Error) {
    super('config', `PostgreSQL's lock table is full: ${setting} is too small`, {
      hint:
        `Set ${setting} = 256 in postgresql.conf, or twice what \`show ${setting}\` prints, and restart PostgreSQL.\n` +
        'A query over all of klines, klines_archive or all_klines locks every table and every index in them. ' +
        "Filter by instrument_id = instrument_id('BTC/USDT'), not by symbol, or read one table such as btc_usdt.",
      cause,
    });
  }
}

function fullTable(error: unknown): { setting: string; error: Error } | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code, hint } = at as { code?: string; hint?: string };
    if (code !== SQLSTATE.outOfMemory) continue;
    // The hint is in the server's language; the name of the setting is the same in all of them.
    const setting = /max_(pred_)?locks_per_transaction/.exec(hint ?? '')?.[0];
    if (setting !== undefined) return { setting, error: at };
  }
  return undefined;
}
