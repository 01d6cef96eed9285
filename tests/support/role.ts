import { randomBytes } from 'node:crypto';
import { inject, onTestFinished } from 'vitest';
import { asAdmin } from './database.ts';

export interface TestRole {
  name: string;
  /** The same address as another one, as this role. */
  as: (url: string) => string;
}

/**
 * A role without any privileges that may log in, gone when the test ends. Ask for it before the database
 * in which it owns something.
 */
export async function freshRole(options = ''): Promise<TestRole> {
  const name = `role_${randomBytes(6).toString('hex')}`;
  await asAdmin((admin) => admin.unsafe(`create role ${name} login password 'secret' ${options}`));
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

/** The user that the test server was made with. */
export function adminName(): string {
  return new URL(inject('templateUrls')[inject('place')] as string).username;
}
