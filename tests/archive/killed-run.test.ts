import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PROJECT_DIR } from '../../lib/base/settings.ts';
import { latestArchiveRuns } from '../../lib/read/report/run-tables.ts';
import { parseBlocks } from '../docs/markdown.ts';
import { freshDatabase } from '../support/database.ts';
import { runScript } from '../support/script.ts';
import { makeCandles } from '../support/tiers.ts';

test('a killed run: archive-log, report and the documented query count its batches', async () => {
  const database = await freshDatabase();
  const { sql, url } = database;
  await makeCandles(database, { rows: 50, from: '2024-01-01T00:00Z' });
  await runScript('archive', ['1', '--as-of', '2024-03-01', '--batch', '20'], {
    DATABASE_URL: url,
  });
  // As a kill after two of the three batches leaves it. The last one to end may be any of them.
  await sql`delete from archive_batches where moved_rows = 10`;
  await sql`update archive_runs set finished_at = null, moved_rows = 0, outcome = null`;

  const manual = await readFile(join(PROJECT_DIR, 'docs/schema.md'), 'utf8');
  const query = parseBlocks(manual).find(({ lines }) => lines.join().includes('running or killed'));
  const [found] = await sql.unsafe((query?.lines ?? []).join('\n'));
  const moved = Number(found?.moved_rows);
  expect(moved).toBe(40);
  expect(found?.outcome).toBe('running or killed');
  expect(await latestArchiveRuns(sql)).toMatchObject([{ movedRows: moved }]);
  const { stdout } = await runScript('archive-log', ['--json'], { DATABASE_URL: url });
  expect(JSON.parse(stdout).runs).toMatchObject([{ movedRows: moved, outcome: null }]);
});
