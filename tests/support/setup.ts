/** Runs before each test file, and fails the file if it leaves something behind. */
import { afterAll } from 'vitest';
import { watchForLeaks } from './leaks.ts';

const watch = watchForLeaks();

// Defined first, so it runs after all hooks of the file.
afterAll(async () => {
  const leaks = await watch.stop();
  if (leaks.length > 0) throw new Error(`This file leaves behind:\n  ${leaks.join('\n  ')}`);
});
