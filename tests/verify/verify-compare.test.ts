import { expect, test } from 'vitest';
import { startStore } from '../support/store.ts';

test('verify --compare: picks distinct candles at random, also before a long gap', async () => {
  const { sql, run } = await startStore({ nowMs: Date.parse('2024-01-01') });
  const hours = ['fetch-history', 'BTC/USDT', '--interval', '1h', '--source', 'rest'] as const;
  await run(...hours, '--since', '2022-12-29', '--until', '2023-01-28');
  await run(...hours, '--since', '2023-12-24', '--until', '2023-12-27');
  await sql`update klines set volume = volume + 1`;
  const compare = async (picks: number) => {
    const { stdout } = await run('verify-integrity', '--json', '--compare', String(picks));
    const differing = JSON.parse(stdout).findings.find(
      (each: { check: string }) => each.check === 'differs',
    );
    const times: string[] = differing.rows.map((row: { from: string }) => row.from);
    expect(new Set(times).size).toBe(times.length);
    return { count: differing.count, late: times.filter((time) => time > '2023-06-01').length };
  };
  const { count, late } = await compare(100);
  expect(count).toBe(100);
  // Nine of a hundred, on average: 72 of 792 candles. None would be a chance of 1 to 15,000.
  expect(late).toBeGreaterThan(0);
  expect(late).toBeLessThan(40);
  expect(await compare(5000)).toEqual({ count: 792, late: 72 });
});
