import { defineConfig } from 'vitest/config';
import { isWriteAfterLoss } from './lib/postgres/connection.ts';
import { isShort, PLACES } from './tests/support/places.ts';

/** These need no server, start one of their own, or look at the terminal. */
const WITHOUT_SERVER = [
  'tests/rooms.test.ts',
  'tests/{base,market,embedded,cli}/*.test.ts',
  'tests/archive/pace.test.ts',
  'tests/binance/{fake-binance,http-closed}.test.ts',
  'tests/postgres/{address,many-tables,tls,versions}.test.ts',
];

/** These run on the oldest PostgreSQL as well in every `npm test`: each verb, and most SQL. */
const ON_OLDEST = [
  'tests/postgres/migrate.test.ts',
  'tests/read/candles.test.ts',
  'tests/scripts/verbs.test.ts',
  'tests/store/kline-copy.test.ts',
];

const shared = {
  pool: 'forks',
  // Workers keep what they have imported for their next file. No module of ours keeps state between runs.
  isolate: false,
  setupFiles: 'tests/support/setup.ts',
  testTimeout: 120_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  test: {
    globalSetup: 'tests/support/server.ts',
    // One more than cores: tests that wait for a clock leave theirs to others.
    maxWorkers: 3,
    // A script ignores it where it is started; see lib/postgres/connection.ts.
    onUnhandledError: (error) => !isWriteAfterLoss(error),
    projects: PLACES.flatMap((place, index) => {
      const isFirst = index === 0;
      const isShortened = isShort && !isFirst;
      return [
        {
          test: {
            ...shared,
            name: `postgres-${place}`,
            provide: { place },
            include: isShortened ? ON_OLDEST : ['tests/**/*.test.ts'],
            exclude: ['tests/archive/archive.test.ts', ...(isFirst ? [] : WITHOUT_SERVER)],
            env: { TZ: 'UTC' },
          },
        },
        // In a zone with daylight saving: what reads times, once more, and archive, whose other files are above.
        ...(isShortened
          ? []
          : [
              {
                test: {
                  ...shared,
                  name: `postgres-${place}-new-york`,
                  provide: { place },
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
