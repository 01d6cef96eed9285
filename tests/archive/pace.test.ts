import { expect, test } from 'vitest';
import { createPace } from '../../lib/archive/pace.ts';

test('a batch over 200 ms is halved, one under 50 ms doubled up to the size that was asked for', () => {
  const pace = createPace({ maxRows: 10_000, gentle: false });
  expect(pace.rows).toBe(10_000);
  expect(pace.after(250, false)).toBe(0);
  expect(pace.rows).toBe(5_000);
  pace.after(120, false);
  expect(pace.rows).toBe(5_000);
  pace.after(30, false);
  pace.after(30, false);
  expect(pace.rows).toBe(10_000);
  for (let n = 0; n < 20; n++) pace.after(1_000, false);
  expect(pace.rows).toBe(100);
  const small = createPace({ maxRows: 7, gentle: false });
  small.after(1_000, false);
  expect(small.rows).toBe(7);
});

test('it pauses as long as the batch took when it is gentle, or when somebody had to wait', () => {
  expect(createPace({ maxRows: 100, gentle: true }).after(80, false)).toBe(80);
  const pace = createPace({ maxRows: 1_000, gentle: false });
  expect(pace.after(80, true)).toBe(80);
  expect(pace.rows).toBe(500);
});
