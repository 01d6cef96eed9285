import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  addSteps,
  ceilToGrid,
  floorToGrid,
  INTERVALS,
  maxStepMs,
} from '../../lib/market/intervals.ts';
import {
  countSlots,
  missingBetween,
  splitIntoWindows,
  type TimeRange,
} from '../../lib/market/ranges.ts';

const interval = fc.constantFrom(...INTERVALS);
const timeMs = fc.integer({ min: Date.UTC(2017, 0, 1), max: Date.UTC(2040, 0, 1) });

test('floorToGrid(): is the last open time of the grid', () => {
  fc.assert(
    fc.property(interval, timeMs, (each, time) => {
      const floor = floorToGrid(each, time);
      expect(floorToGrid(each, floor)).toBe(floor);
      expect(floor).toBeLessThanOrEqual(time);
      expect(addSteps(each, floor, 1)).toBeGreaterThan(time);
      expect(ceilToGrid(each, floor)).toBe(floor);
    }),
  );
});

test('addSteps(): forward and back cancel out, within maxStepMs()', () => {
  fc.assert(
    fc.property(interval, timeMs, fc.integer({ min: 0, max: 5000 }), (each, time, steps) => {
      const open = floorToGrid(each, time);
      expect(addSteps(each, addSteps(each, open, steps), -steps)).toBe(open);
      expect(addSteps(each, open, 1) - open).toBeLessThanOrEqual(maxStepMs(each));
      expect(countSlots(each, { fromMs: open, toMs: addSteps(each, open, steps) })).toBe(steps);
    }),
  );
});

test.each([
  ['3d', '2024-03-15T12:00Z', '2024-03-13'],
  ['1w', '2024-03-17T23:59Z', '2024-03-11'],
  ['1M', '2024-02-29T23:59Z', '2024-02-01'],
  ['8h', '2024-03-15T15:59Z', '2024-03-15T08:00Z'],
  ['1s', '2024-03-15T15:59:07.999Z', '2024-03-15T15:59:07Z'],
] as const)('%s candles open on the published grid: %s belongs to %s', (each, time, open) => {
  expect(new Date(floorToGrid(each, Date.parse(time)))).toEqual(new Date(open));
});

test('splitIntoWindows(): covers exactly the open times, in order', () => {
  fc.assert(
    fc.property(
      interval,
      timeMs,
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 1, max: 40 }),
      (each, time, steps, slots) => {
        const range = { fromMs: time, toMs: addSteps(each, floorToGrid(each, time), steps) + 1 };
        const windows = [...splitIntoWindows(each, [range], slots)];
        expect(sum(each, windows)).toBe(countSlots(each, range));
        for (const [index, window] of windows.entries()) {
          expect(countSlots(each, window)).toBeLessThanOrEqual(slots);
          if (index > 0) expect(window.fromMs).toBe(windows[index - 1]!.toMs);
        }
      },
    ),
  );
});

test('missingBetween(): is exactly the slots without a candle', () => {
  fc.assert(
    fc.property(
      interval,
      timeMs,
      fc.array(fc.boolean(), { minLength: 1, maxLength: 60 }),
      (each, time, present) => {
        const first = floorToGrid(each, time);
        const open = (index: number) => addSteps(each, first, index);
        const kept = [
          -1,
          ...present.flatMap((there, index) => (there ? [index] : [])),
          present.length,
        ].map(open);
        const pairs = kept
          .slice(1)
          .map((afterMs, index) => ({ beforeMs: kept[index]!, afterMs }))
          .filter(({ beforeMs, afterMs }) => afterMs - beforeMs > maxStepMs(each));
        const missing = missingBetween(each, pairs);
        const slots = missing.flatMap((range) => slotsOf(each, range));
        expect(slots).toEqual(present.flatMap((there, index) => (there ? [] : [open(index)])));
      },
    ),
  );
});

test('missingBetween(): a candle off the grid covers its slot', () => {
  const hour = (text: string) => Date.parse(`2018-02-09T${text}Z`);
  const pairs = [{ beforeMs: hour('07:00:00'), afterMs: hour('10:28:14.789') }];
  expect(missingBetween('1h', pairs)).toEqual([
    { fromMs: hour('08:00:00'), toMs: hour('10:00:00') },
  ]);
});

function sum(each: (typeof INTERVALS)[number], ranges: readonly TimeRange[]): number {
  return ranges.reduce((total, range) => total + countSlots(each, range), 0);
}

function slotsOf(each: (typeof INTERVALS)[number], range: TimeRange): number[] {
  return [...splitIntoWindows(each, [range], 1)].map((window) => window.fromMs);
}
