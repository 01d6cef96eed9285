import { defineConfig } from 'vitest/config';
import { isWriteAfterLoss } from './lib/db.ts';

export default defineConfig({
  test: {
    globalSetup: 'tests/support/server.ts',
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    // A script ignores it where it is started; see lib/db.ts.
    onUnhandledError: (error) => !isWriteAfterLoss(error),
    projects: [
      {
        extends: true,
        test: {
          name: 'utc',
          include: ['tests/*.test.ts'],
          exclude: ['tests/archive.test.ts'],
          env: { TZ: 'UTC' },
        },
      },
      {
        extends: true,
        // In a zone with daylight saving: what reads times, once more, and archive, whose other files are above.
        test: {
          name: 'new-york',
          include: ['tests/{time,intervals,archive}.test.ts'],
          env: { TZ: 'America/New_York' },
        },
      },
    ],
  },
});
