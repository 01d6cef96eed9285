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
import { SERVERS } from './servers.ts';
import { fetchVersion, findVersion } from './versions.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Which of SERVERS a project uses. */
    server: string;
    /** The address of each server's database with the schema, from which others are created. */
    templateUrls: Record<string, string>;
  }
}

interface TestServer {
  templateUrl: string;
  stop(): Promise<void>;
}

/** Starts all servers for the whole run; afterwards stops them and deletes their folders. */
export default async function startServers(project: TestProject): Promise<() => Promise<void>> {
  const started = await Promise.allSettled(
    SERVERS.map(async (name) => ({
      name,
      ...(await (name === 'given' ? useGiven() : startVersion(name))),
    })),
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
  const urls = servers.map(({ name, templateUrl }) => [name, templateUrl]);
  project.provide('templateUrls', Object.fromEntries(urls));
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
    await asAdmin(templateUrl, async (admin) => {
      // No test crashes the operating system.
      await admin`alter system set fsync = off`;
      await admin`alter system set full_page_writes = off`;
      // A session whose client has gone ends soon, not with its query.
      await admin`alter system set client_connection_check_interval = '500ms'`;
      await admin`select pg_reload_conf()`;
    });
    return { templateUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Uses the server of KLINEKEEP_TEST_URL. Its role can create databases and need not be a superuser. */
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
