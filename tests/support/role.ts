import { randomBytes } from 'node:crypto';
import { inject, onTestFinished } from 'vitest';
import { asAdmin } from './database.ts';

export interface TestRole {
  name: string;
  /** The same address with this role's name and password. */
  as: (url: string) => string;
}

/**
 * Creates a role that can log in and has no privileges, dropped when the test ends. Create it before the
 * database in which it owns something.
 */
export async function freshRole(options = ''): Promise<TestRole> {
  const name = `role_${randomBytes(6).toString('hex')}`;
  await asAdmin(async (admin) => {
    await admin.unsafe(`create role ${name} login password 'secret' ${options}`);
    // An admin who is not a superuser must be a member to give it a schema, and to drop what it owns.
    await admin.unsafe(`grant ${name} to current_user`);
  });
  onTestFinished(() => asAdmin((admin) => admin.unsafe(`drop role ${name}`)));
  return {
    name,
    as: (address) => {
      const url = new URL(address);
      [url.username, url.password] = [name, 'secret'];
      return url.href;
    },
  };
}

/** The name of the role that the test server was created with. */
export function adminName(): string {
  return new URL(inject('templateUrls')[inject('server')] as string).username;
}
