import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { startEmbedded, stopEmbedded } from '../../lib/embedded/cluster.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { migrate } from '../../lib/postgres/migrate.ts';
import { checkServer } from '../../lib/postgres/server.ts';
import { PLACES } from './places.ts';
import { fetchVersion, findVersion } from './versions.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Which of the servers a project uses. */
    place: string;
    /** Of each server a database with the schema in it, to make others from. */
    templateUrls: Record<string, string>;
  }
}

interface TestServer {
  templateUrl: string;
  stop(): Promise<void>;
}

/** One server for each place, for the whole run, in folders of their own that go with it. */
export default async function startServers(project: TestProject): Promise<() => Promise<void>> {
  const started = await Promise.allSettled(
    PLACES.map(async (place) => {
      const server = await (place === 'given' ? useGiven() : startVersion(place));
      return { place, ...server };
    }),
  );
  const servers = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const stop = async () => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  const failed = started.find((each) => each.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  project.provide(
    'templateUrls',
    Object.fromEntries(servers.map(({ place, templateUrl }) => [place, templateUrl])),
  );
  return stop;
}

async function startVersion(major: string): Promise<TestServer> {
  const home = await mkdtemp(join(tmpdir(), `klinekeep-tests-${major}-`));
  await chmod(home, 0o711);
  const stop = async () => {
    await stopEmbedded(home);
    await rm(home, { recursive: true, force: true });
  };
  try {
    await fetchVersion(major);
    const programs = await findVersion(major);
    const templateUrl = await startEmbedded(home, { database: 'template_klines', programs });
    await fillTemplate(templateUrl);
    // No test pulls the plug of the machine.
    await asAdmin(templateUrl, async (admin) => {
      await admin`alter system set fsync = off`;
      await admin`alter system set full_page_writes = off`;
      await admin`select pg_reload_conf()`;
    });
    return { templateUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The server of KLINEKEEP_TEST_URL, whose role may create databases and need not be a superuser. */
async function useGiven(): Promise<TestServer> {
  const adminUrl = process.env.KLINEKEEP_TEST_URL as string;
  const name = `template_klines_${randomBytes(6).toString('hex')}`;
  await asAdmin(adminUrl, (admin) =>
    admin.unsafe(`create database ${name} template template0 encoding 'UTF8'`),
  );
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const stop = async () => {
    await asAdmin(adminUrl, (admin) => admin.unsafe(`drop database ${name} with (force)`));
  };
  try {
    await fillTemplate(url.href);
    return { templateUrl: url.href, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function fillTemplate(url: string): Promise<void> {
  const { sql, close } = await connectDatabase(url, 'klinekeep tests');
  try {
    await checkServer(sql);
    await migrate(sql);
  } finally {
    await close();
  }
}

async function asAdmin(url: string, work: (admin: postgres.Sql) => Promise<unknown>) {
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await work(admin);
  } finally {
    await admin.end();
  }
}
