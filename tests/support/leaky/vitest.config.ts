/** For tests/leaks.test.ts: runs the files of this folder with the check that all tests have. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['leaves-*.ts'],
    setupFiles: '../setup.ts',
    maxWorkers: 1,
  },
});
