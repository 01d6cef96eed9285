import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT, type KlinekeepError } from '../../lib/base/errors.ts';
import { formatAddress, parseAddress } from '../../lib/postgres/address.ts';
import { withoutPassword } from '../../lib/postgres/connection-string.ts';
import { readPasswordFile } from '../../lib/postgres/password-file.ts';

const me = userInfo().username;
const host = (name: string, port = 5432) => ({ host: name, hostaddr: undefined, port });

describe('parseAddress()', () => {
  test.each([
    ['postgres://h/db', { hosts: [host('h')], user: me, database: 'db' }],
    ['postgresql://u:p@h:5433/db', { hosts: [host('h', 5433)], user: 'u', password: 'p' }],
    ['postgres://u:p%40s%2Fs%3A%25@h/db', { password: 'p@s/s:%' }],
    ['postgres://u:a:b@h/db', { password: 'a:b' }],
    ['postgres://%C3%BC:%E5%AF%86@h/%E5%B8%81', { user: 'ü', password: '密', database: '币' }],
    ['postgres://u@[::1]:5433/db', { hosts: [host('::1', 5433)] }],
    ['postgres://u@[::1]/db', { hosts: [host('::1')] }],
    ['postgres://a:1,b:2/db', { hosts: [host('a', 1), host('b', 2)] }],
    ['postgres://a,b:2,[::1]:3/db', { hosts: [host('a'), host('b', 2), host('::1', 3)] }],
    ['postgres:///db?host=a,b&port=1,2', { hosts: [host('a', 1), host('b', 2)] }],
    ['host=a,b port=7 dbname=db', { hosts: [host('a', 7), host('b', 7)] }],
    ['postgres:///db?host=/run/pg', { hosts: [host('/run/pg')], database: 'db' }],
    ['postgres://u@%2Frun%2Fpg:6432/db', { hosts: [host('/run/pg', 6432)], user: 'u' }],
    ['postgres://u@/db?host=/run/pg&port=6', { hosts: [host('/run/pg', 6)] }],
    ['postgres://:6432/db?host=/run/pg', { hosts: [host('/run/pg', 6432)] }],
    ['/run/pg db', { hosts: [host('/run/pg')], database: 'db' }],
    [`host='h' password='it''s' `.replace("''", "\\'"), { password: "it's" }],
    ['host=h user = u  password=a\\ b', { user: 'u', password: 'a b' }],
    ['postgres://u@h', { database: 'u' }],
    ['postgres://h/db?connect_timeout=3', { connectTimeoutMs: 3_000 }],
    [
      'postgres://h/db?sslmode=verify-full&sslrootcert=system',
      { tls: { sslmode: 'verify-full', sslrootcert: 'system' } },
    ],
    ['postgres://h/db?ssl=true', { tls: { sslmode: 'require' } }],
    ['postgres://h/db?sslmode=require&channel_binding=require', { channelBinding: 'require' }],
    [
      'postgres://h/db?options=-csearch_path%3Dkl,public',
      { settings: [['search_path', 'kl,public']], options: undefined },
    ],
    [
      'postgres://h/db?options=-c%20search_path%3Dkl%20--work-mem%3D1GB',
      {
        settings: [
          ['search_path', 'kl'],
          ['work_mem', '1GB'],
        ],
      },
    ],
    [
      'postgres://h/db?options=endpoint%3Dep-cool-1',
      { settings: [], options: 'endpoint=ep-cool-1' },
    ],
    ['postgres://h/db?application_name=x&keepalives=1', { database: 'db' }],
  ])('reads %s', (text, wanted) => {
    expect(parseAddress(text, {})).toMatchObject(wanted);
  });

  test('takes what is missing from PGHOST and its relatives', () => {
    const env = {
      PGHOST: 'h',
      PGPORT: '7',
      PGUSER: 'u',
      PGDATABASE: 'db',
      PGPASSWORD: 'p',
      PGSSLMODE: 'require',
    };
    const wanted = {
      hosts: [host('h', 7)],
      user: 'u',
      database: 'db',
      password: 'p',
      tls: { sslmode: 'require' },
    };
    expect(parseAddress('postgres://', env)).toMatchObject(wanted);
    expect(parseAddress('postgres://other@/', env)).toMatchObject({ ...wanted, user: 'other' });
    expect(parseAddress('postgres://h2:8', env)).toMatchObject({ hosts: [host('h2', 8)] });
  });

  test('takes a service before the environment, and the address before both', () => {
    const folder = mkdtempSync(join(tmpdir(), 'klinekeep-service-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'services.conf');
    writeFileSync(
      file,
      '# ours\n[other]\nhost=no\n\n[mine]\nhost=h\nport=7\nuser=u\npassword=a=b\n[last]\nhost=no\n',
    );
    const env = { PGSERVICEFILE: file, PGSERVICE: 'mine', PGHOST: 'no', PGDATABASE: 'db' };
    expect(parseAddress('postgres://', env)).toMatchObject({
      hosts: [host('h', 7)],
      user: 'u',
      password: 'a=b',
      database: 'db',
    });
    expect(parseAddress('service=mine user=other', { PGSERVICEFILE: file })).toMatchObject({
      user: 'other',
      hosts: [host('h', 7)],
    });
    expect(() => parseAddress('postgres://?service=none', env)).toThrow(
      /Cannot find the PostgreSQL service "none"/,
    );
  });

  test.each([
    ['not an address', 'does not start with postgres://'],
    ['mysql://u:secret@h/db', 'does not start with postgres://'],
    ['postgres://u:sec/ret@h/db', 'host or port cannot be read'],
    ['postgres://u:sec@ret@h/db', 'host or port cannot be read'],
    ['postgres://u:secret%@h/db', 'not followed by two hexadecimal digits'],
    ['postgres://u:secret@h:99999/db', 'port is not a number from 1 to 65535'],
    ['postgres://u:secret@a:1,b:2/db?port=1,2,3', 'names 2 hosts and 3 ports'],
    ['postgres://u:secret@h/db?sslmode=yes', 'sslmode is not one of disable'],
    ['postgres://u:secret@h/db?schema=kl', 'unknown parameter "schema"'],
    ['host=h password=secret broken', 'has no name=value'],
  ])('refuses %s without printing the password', (text, found) => {
    const refused = () => parseAddress(text, {});
    expect(refused).toThrow(found);
    try {
      refused();
    } catch (error) {
      expect((error as KlinekeepError).exitCode).toBe(EXIT.config);
      expect(`${error} ${(error as KlinekeepError).hint}`).not.toMatch(/secret|sec@|ret@/);
    }
  });
});

test('formatAddress(): names user, hosts and database, and no password', () => {
  expect(formatAddress(parseAddress('postgres://u:secret@[::1]:7,b/db', {}))).toBe(
    'u@[::1]:7,b:5432/db',
  );
});

test.each([
  ['postgres://u:secret@h:5/db?sslmode=require', 'postgres://u@h:5/db?sslmode=require'],
  ['postgres://h/db?password=secret&user=u', 'postgres://h/db?user=u'],
  ['postgres:///db?user=u&password=secret', 'postgres:///db?user=u&'],
  ["host=h password = 'a \\' secret' user=u", 'host=h  user=u'],
  ['host=h password=secret', 'host=h '],
  ['postgres://u@h/db', 'postgres://u@h/db'],
])('withoutPassword(): %s', (text, wanted) => {
  expect(withoutPassword(text)).toBe(wanted);
});

test.each([
  ['h:5432:db:u:secret', 'secret'],
  ['# h:5432:db:u:comment\n*:*:*:*:a:b', 'a:b'],
  ['h:5433:db:u:other\n\nh:5432:*:u:first\n*:*:*:*:second', 'first'],
  ['h:*:db:u:back\\\\slash\\:colon', 'back\\slash:colon'],
  ['h\\:5432:db:u:no', undefined],
  ['h:5432:db:u', undefined],
])('readPasswordFile(): %j', async (text, wanted) => {
  const folder = mkdtempSync(join(tmpdir(), 'klinekeep-pgpass-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, '.pgpass');
  writeFileSync(path, text, { mode: 0o600 });
  expect(await readPasswordFile(path, ['h', '5432', 'db', 'u'])).toBe(wanted);
});
