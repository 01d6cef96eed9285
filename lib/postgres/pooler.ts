import type pg from 'pg';
import { configError, type KlinekeepError } from '../base/mod.ts';
import type { Address } from './address.ts';

const checked = new WeakMap<Address, Promise<void>>();
const CHECKS = 3;

/**
 * Checks, once per address, that a pooler keeps each connection on the same server process from one
 * transaction to the next, because locks and settings belong to the process.
 * @param openSecond opens another connection to the same address
 * @throws KlinekeepError (78) when two connections share a process, or one changes it.
 */
export async function assertOwnServerProcess(
  client: pg.Client,
  address: Address,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const check = checked.get(address) ?? compareProcesses(client, openSecond);
  checked.set(address, check);
  await check;
}

async function compareProcesses(
  client: pg.Client,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const own = await readProcess(client);
  // Without a free second connection there is nothing to compare with.
  const second = await openSecond().catch(() => undefined);
  if (second === undefined) return;
  try {
    await second.query('begin').catch((error) => {
      throw notOurOwn(error);
    });
    // This finds a pooler that assigns the process that was used last.
    if ((await readProcess(second)) === own) throw notOurOwn();
    await second.query('rollback');
    // This finds one that assigns the processes in turn.
    for (let check = 0; check < CHECKS; check += 1)
      if ((await readProcess(client)) !== own) throw notOurOwn();
  } finally {
    second.end().catch(() => {});
  }
}

async function readProcess(client: pg.Client): Promise<number> {
  const { rows } = await client.query('select pg_backend_pid() as pid');
  return rows[0].pid;
}

function notOurOwn(cause?: unknown): KlinekeepError {
  return configError(
    'The connection pooler in DATABASE_URL can use a different server process for each transaction, but klinekeep needs the same one throughout, because its locks belong to that process.',
    'Connect to the server itself, or to the pooler in session mode (pgbouncer: pool_mode = session).',
    cause,
  );
}
