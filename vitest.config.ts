import { defineConfig } from 'vitest/config';
import { isWriteAfterLoss } from './lib/postgres/connection.ts';
import { isShort, SERVERS } from './tests/support/servers.ts';

/** These need no server, or start one of their own: they run on the first server only. */
const WITHOUT_SERVER = [
  'tests/rooms.test.ts',
  'tests/{base,market,embedded,cli}/*.test.ts',
  'tests/archive/batch-sizer.test.ts',
  'tests/binance/{fake-binance,http-closed}.test.ts',
  'tests/postgres/{address,many-tables,tls,versions}.test.ts',
];

/** These also run on the oldest PostgreSQL in every `npm test`: each verb, and most SQL. */
const ON_OLDEST = [
  'tests/postgres/migrate.test.ts',
  'tests/read/candles.test.ts',
  'tests/scripts/verbs.test.ts',
  'tests/store/kline-copy.test.ts',
];

const shared = {
  pool: 'forks',
  // A worker imports a module once for all of its files. No module keeps state that a test depends on.
  isolate: false,
  setupFiles: 'tests/support/setup.ts',
  testTimeout: 120_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  test: {
    globalSetup: 'tests/support/global-setup.ts',
    // One more than most machines' two cores, because some tests wait for a clock.
    maxWorkers: 3,
    // Scripts ignore this error as well; see lib/postgres/connection.ts.
    onUnhandledError: (error) => !isWriteAfterLoss(error),
    projects: SERVERS.flatMap((server, index) => {
      const isFirst = index === 0;
      const isShortened = isShort && !isFirst;
      return [
        {
          test: {
            ...shared,
            name: `postgres-${server}`,
            provide: { server },
            include: isShortened ? ON_OLDEST : ['tests/**/*.test.ts'],
            exclude: ['tests/archive/archive.test.ts', ...(isFirst ? [] : WITHOUT_SERVER)],
            env: { TZ: 'UTC' },
          },
        },
        // In a time zone with daylight saving: archive, and what parses times once more.
        ...(isShortened
          ? []
          : [
              {
                test: {
                  ...shared,
                  name: `postgres-${server}-new-york`,
                  provide: { server },
                  include: [
                    'tests/archive/archive.test.ts',
                    ...(isFirst ? ['tests/{base/time,market/intervals}.test.ts'] : []),
                  ],
                  env: { TZ: 'America/New_York' },
                },
              },
            ]),
      ];
    }),
  },
});
