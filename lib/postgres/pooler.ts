import type pg from 'pg';
import { KlinekeepError } from '../base/mod.ts';
import type { Address } from './address.ts';

const checked = new WeakMap<Address, Promise<void>>();
const LOOKS = 3;

/**
 * That a pooler leaves each connection the same server process from one transaction to the next:
 * locks and settings belong to it. Asks once per address; leaves neither lock nor setting behind.
 * @param openSecond opens another connection to the same place
 * @throws KlinekeepError (78) when two connections share a process, or one changes it.
 */
export async function assertOwnServerProcess(
  client: pg.Client,
  address: Address,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const look = checked.get(address) ?? compareProcesses(client, openSecond);
  checked.set(address, look);
  await look;
}

async function compareProcesses(
  client: pg.Client,
  openSecond: () => Promise<pg.Client>,
): Promise<void> {
  const own = await processOf(client);
  // Without room for a second connection there is nothing to compare with.
  const second = await openSecond().catch(() => undefined);
  if (second === undefined) return;
  try {
    await second.query('begin').catch((error) => {
      throw shared(error);
    });
    // A pooler that hands out the server used last has given ours away.
    if ((await processOf(second)) === own) throw shared();
    await second.query('rollback');
    // One that hands them out in turn has come to another one by now.
    for (let look = 0; look < LOOKS; look += 1)
      if ((await processOf(client)) !== own) throw shared();
  } finally {
    second.end().catch(() => {});
  }
}

async function processOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query('select pg_backend_pid() as pid');
  return rows[0].pid;
}

function shared(cause?: unknown): KlinekeepError {
  return new KlinekeepError(
    'config',
    'The connection pooler in DATABASE_URL gives every transaction another server process; klinekeep needs its own, because locks belong to it.',
    {
      hint: 'Connect to the server itself, or to the pooler in session mode (pgbouncer: pool_mode = session).',
      cause,
    },
  );
}
