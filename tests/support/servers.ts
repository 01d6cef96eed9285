/**
 * The servers that tests run on: major versions of PostgreSQL, each started for the run, or `given`, the
 * server of KLINEKEEP_TEST_URL. Files that need no particular server run on the first.
 */
export const SERVERS: readonly string[] = process.env.KLINEKEEP_TEST_URL
  ? ['given']
  : (process.env.KLINEKEEP_TEST_VERSIONS ?? '18,14').split(',');

/** Whether only the files whose SQL is most likely to differ run on the second server. */
export const isShort = !process.env.KLINEKEEP_TEST_URL && !process.env.KLINEKEEP_TEST_VERSIONS;
