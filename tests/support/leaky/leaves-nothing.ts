import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('cleans up, if a little late', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gone-'));
  setTimeout(() => rmSync(folder, { recursive: true }), 300);
  setInterval(() => {}, 1_000).unref();
  expect(folder).toContain('gone-');
});
