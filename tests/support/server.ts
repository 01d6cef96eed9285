import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { connectDatabase } from '../../lib/db.ts';
import { startEmbedded, stopEmbedded } from '../../lib/embedded.ts';
import { migrate } from '../../lib/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A database with the schema in it, to make others from. */
    templateUrl: string;
  }
}

/** One server for the whole run, in a folder of its own that goes with it. */
export default async function startServer(project: TestProject): Promise<() => Promise<void>> {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-tests-'));
  await chmod(home, 0o711);
  const templateUrl = await startEmbedded(home, { database: 'template_klines' });
  const { sql, close } = await connectDatabase(templateUrl, 'klinekeep tests');
  await migrate(sql);
  // No test pulls the plug of the machine.
  await sql`alter system set fsync = off`;
  await sql`select pg_reload_conf()`;
  await close();
  project.provide('templateUrl', templateUrl);
  return async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true, force: true });
  };
}
