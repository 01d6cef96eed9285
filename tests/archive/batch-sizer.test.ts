import { describe, expect, test } from 'vitest';
import { BatchSizer } from '../../lib/archive/batch-sizer.ts';

describe('BatchSizer', () => {
  test('halves a batch over 200 ms and doubles one under 50 ms', () => {
    const sizer = new BatchSizer({ maxRows: 10_000, gentle: false });
    expect(sizer.rows).toBe(10_000);
    expect(sizer.recordBatch(250, false)).toBe(0);
    expect(sizer.rows).toBe(5_000);
    sizer.recordBatch(120, false);
    expect(sizer.rows).toBe(5_000);
    sizer.recordBatch(30, false);
    sizer.recordBatch(30, false);
    expect(sizer.rows).toBe(10_000);
    for (let n = 0; n < 20; n++) sizer.recordBatch(1_000, false);
    expect(sizer.rows).toBe(100);
  });

  test('keeps a size that was small from the start', () => {
    const sizer = new BatchSizer({ maxRows: 7, gentle: false });
    sizer.recordBatch(1_000, false);
    expect(sizer.rows).toBe(7);
  });

  test('pauses as long as the batch took when it is gentle or others waited', () => {
    expect(new BatchSizer({ maxRows: 100, gentle: true }).recordBatch(80, false)).toBe(80);
    const sizer = new BatchSizer({ maxRows: 1_000, gentle: false });
    expect(sizer.recordBatch(80, true)).toBe(80);
    expect(sizer.rows).toBe(500);
  });
});
