import { chmod, chown, copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { type OwnServer, startOwnServer } from '../support/own-server.ts';

/** Made with openssl, valid for a hundred years: a CA, the certificate of `localhost`, and a client's. */
const file = (name: string) => resolve(PROJECT_DIR, 'tests/support/tls', name);
const CA = `sslrootcert=${file('ca.pem')}`;

let server: OwnServer;
let url: URL;

beforeAll(async () => {
  server = await startOwnServer();
  url = new URL(server.url);
  const pgdata = join(server.home, 'pgdata');
  const owner = await stat(pgdata);
  for (const name of ['server.pem', 'server.key', 'ca.pem']) {
    await copyFile(file(name), join(pgdata, name));
    await chown(join(pgdata, name), owner.uid, owner.gid);
    await chmod(join(pgdata, name), 0o600);
  }
  const hba = join(pgdata, 'pg_hba.conf');
  const rules = [
    'hostssl certificates all 127.0.0.1/32 cert',
    'hostssl encrypted all 127.0.0.1/32 scram-sha-256',
    'host encrypted all 127.0.0.1/32 reject',
  ];
  await writeFile(hba, `${rules.join('\n')}\n${await readFile(hba, 'utf8')}`);
  const { sql, close } = await connectDatabase(server.url, 'klinekeep tests');
  await sql.unsafe(`create database certificates`);
  await sql.unsafe(`create database encrypted`);
  for (const [name, value] of [
    ['ssl_cert_file', 'server.pem'],
    ['ssl_key_file', 'server.key'],
    ['ssl_ca_file', 'ca.pem'],
    ['ssl', 'on'],
  ])
    await sql.unsafe(`alter system set ${name} = '${value}'`);
  await sql`select pg_reload_conf()`;
  await close();
  await untilEncrypted();
}, 120_000);

afterAll(async () => await server?.stop());

/** The server reads its configuration anew a moment later. */
async function untilEncrypted(): Promise<void> {
  for (let isEncrypted = false; !isEncrypted; ) {
    isEncrypted = await connect('sslmode=require').then(
      (found) => found,
      () => false,
    );
  }
}

/** @returns whether the connection is encrypted */
async function connect(query: string, change: Partial<URL> = {}, env = {}): Promise<boolean> {
  const address = Object.assign(new URL(url), change);
  address.search = query;
  const database = await connectDatabase(address.href, 'klinekeep tests', { env });
  try {
    const [row] = await database.sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
    return row!.ssl;
  } finally {
    await database.close();
  }
}

describe('sslmode', () => {
  test.each([
    ['', true],
    ['sslmode=prefer', true],
    ['sslmode=allow', false],
    ['sslmode=disable', false],
    ['sslmode=require', true],
    [`sslmode=require&${CA}`, true],
    [`sslmode=verify-ca&${CA}`, true],
    [`sslmode=require&sslnegotiation=direct`, true],
  ])('%s: connects, encrypted: %s', async (query, isEncrypted) => {
    expect(await connect(query)).toBe(isEncrypted);
  });

  test('verify-full: connects to the name in the certificate', async () => {
    expect(await connect(`sslmode=verify-full&${CA}`, { hostname: 'localhost' })).toBe(true);
    const elsewhere = { hostname: 'localhost' };
    expect(await connect(`sslmode=verify-full&${CA}&hostaddr=127.0.0.1`, elsewhere)).toBe(true);
  });

  test.each([
    [`sslmode=verify-full&${CA}`, EXIT.unavailable, /not in the cert's list|does not match/],
    [
      `sslmode=verify-full&sslrootcert=${file('other-ca.pem')}`,
      EXIT.unavailable,
      /unable to verify|self.signed/,
    ],
    [
      `sslmode=verify-ca&sslrootcert=${file('other-ca.pem')}`,
      EXIT.unavailable,
      /unable to verify|self.signed/,
    ],
    [
      `sslmode=require&sslrootcert=${file('other-ca.pem')}`,
      EXIT.unavailable,
      /unable to verify|self.signed/,
    ],
    ['sslmode=verify-full&sslrootcert=system', EXIT.unavailable, /unable to verify|self.signed/],
    ['sslmode=verify-full&sslrootcert=/no/such/file', EXIT.config, /Cannot read sslrootcert/],
  ])('%s: refuses the server', async (query, exitCode, message) => {
    await expect(connect(query)).rejects.toMatchObject({
      exitCode,
      message: expect.stringMatching(message),
    });
  });

  test('verify-full without a root certificate: says what to add', async () => {
    await expect(connect('sslmode=verify-full', {}, { HOME: '/nowhere' })).rejects.toMatchObject({
      exitCode: EXIT.config,
      hint: expect.stringContaining('sslrootcert'),
    });
  });

  test('prefer and allow: use TLS where pg_hba.conf demands it', async () => {
    const database = { pathname: '/encrypted' };
    expect(await connect('sslmode=prefer', database)).toBe(true);
    expect(await connect('sslmode=allow', database)).toBe(true);
    await expect(connect('sslmode=disable', database)).rejects.toThrow(/pg_hba.conf/);
  });

  test('sslcert and sslkey: log in with a client certificate', async () => {
    const login = { pathname: '/certificates', password: '' };
    const query = `sslmode=require&sslcert=${file('client.pem')}&sslkey=${file('client.key')}`;
    expect(await connect(query, login)).toBe(true);
    await expect(connect('sslmode=require', login)).rejects.toThrow(/certificate/);
  });
});

describe('channel_binding', () => {
  test.each(['disable', 'prefer', 'require'])('%s: connects over TLS', async (mode) => {
    expect(await connect(`sslmode=require&channel_binding=${mode}`)).toBe(true);
  });

  test('require: is refused without TLS', async () => {
    await expect(connect('sslmode=disable&channel_binding=require')).rejects.toMatchObject({
      exitCode: EXIT.config,
      message: expect.stringContaining('does not offer SCRAM-SHA-256-PLUS'),
    });
  });
});

test('.pgpass: supplies the password if other users cannot read it', async () => {
  const home = await mkdtemp(join(tmpdir(), 'klinekeep-pgpass-'));
  onTestFinished(() => rm(home, { recursive: true }));
  const path = join(home, '.pgpass');
  const login = `${url.hostname}:${url.port}:*:${url.username}`;
  await writeFile(path, `other:1:*:*:wrong\n${login}:${url.password}\n`, { mode: 0o600 });
  expect(await connect('', { password: '' }, { HOME: home })).toBe(true);
  expect(await connect(`passfile=${path}`, { password: '' })).toBe(true);
  await chmod(path, 0o644);
  await expect(connect('', { password: '' }, { HOME: home })).rejects.toThrow(/none is given/);
  await writeFile(path, '');
  await expect(connect(`passfile=${path}`, { password: '' })).rejects.toMatchObject({
    exitCode: EXIT.config,
    message: expect.stringContaining('requires a password for klinekeep, and none is given'),
  });
});
