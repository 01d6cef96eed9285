import {
  appendFile,
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { connectDatabase, type Database } from '../../lib/postgres/connection.ts';
import { migrate } from '../../lib/postgres/migrate.ts';

export interface Pair {
  primary: Database;
  standbyUrl: string;
  standby: Database;
  /** Waits until the standby has everything that the primary has committed. */
  catchUp: () => Promise<void>;
}

/**
 * Starts a primary and its hot standby; both are deleted when the test ends. The standby begins as a copy
 * of the stopped primary, because the npm package has no pg_basebackup.
 */
export async function startPair(): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'klinekeep-pair-'));
  await chmod(folder, 0o711);
  const [first, second] = [join(folder, 'primary'), join(folder, 'standby')];
  onTestFinished(async () => {
    await stopEmbedded(second);
    await stopEmbedded(first);
    await rm(folder, { recursive: true, force: true });
  });
  await startEmbedded(first);
  await stopEmbedded(first);
  await mkdir(second);
  await chmod(second, 0o711);
  const data = join(second, 'pgdata');
  await cp(join(first, 'pgdata'), data, { recursive: true, preserveTimestamps: true });
  const primaryUrl = new URL(await startEmbedded(first));
  const { port, username, password } = primaryUrl;
  await writeFile(join(data, 'standby.signal'), '');
  await appendFile(
    join(data, 'postgresql.auto.conf'),
    `primary_conninfo = 'host=127.0.0.1 port=${port} user=${username} password=${password}'\n` +
      'max_standby_streaming_delay = 0\nhot_standby_feedback = off\n',
  );
  await chownLike(join(first, 'pgdata'), data);
  const standbyUrl = await startEmbedded(second);

  const primary = await connectDatabase(primaryUrl.href, 'klinekeep tests');
  await migrate(primary.sql);
  const standby = await connectDatabase(standbyUrl, 'tests');
  onTestFinished(async () => {
    await standby.close();
    await primary.close();
  });
  const catchUp = async () => {
    const [now] = await primary.sql`select pg_current_wal_insert_lsn()::text as lsn`;
    for (let tries = 0; tries < 600; tries++) {
      const [row] =
        await standby.sql`select pg_last_wal_replay_lsn() >= ${now?.lsn}::pg_lsn as done`;
      if (row?.done) return;
      await sleep(50);
    }
    throw new Error('The standby has not caught up within 30 s.');
  };
  await catchUp();
  return { primary, standby, standbyUrl, catchUp };
}

/** Gives a copy that root made to the owner of the original. */
async function chownLike(model: string, copy: string): Promise<void> {
  const { uid, gid } = await stat(model);
  if (process.getuid?.() !== 0) return;
  await chown(copy, uid, gid);
  for (const name of await readdir(copy, { recursive: true }))
    await chown(join(copy, name), uid, gid);
  await chmod(copy, 0o700);
}
