/**
 * Where the tests run: major versions of PostgreSQL, each of which gets a server of its own, or
 * `given`, the server of KLINEKEEP_TEST_URL. Files that need no particular server run on the first.
 */
export const PLACES: readonly string[] = process.env.KLINEKEEP_TEST_URL
  ? ['given']
  : (process.env.KLINEKEEP_TEST_VERSIONS ?? '18,14').split(',');

/** Whether the second place gets only those files whose SQL is most likely to differ. */
export const isShort = !process.env.KLINEKEEP_TEST_URL && !process.env.KLINEKEEP_TEST_VERSIONS;
