import { KlinekeepError } from '../base/mod.ts';
import { addSteps, floorToGrid, INTERVALS, type Interval, isInterval } from '../market/mod.ts';

const FIRST_MICROSECONDS = 1e14;

/**
 * That rows are as far apart as candles of the interval: candles of 1m stored as 1h would look like
 * candles off the grid.
 * @param openTimes of the first rows, in order, in ms or µs
 * @throws KlinekeepError (65) when most of them are as far apart as those of another interval
 */
export function assertSpacing(openTimes: readonly number[], interval: Interval): void {
  const times = [
    ...new Set(openTimes.map((time) => (time >= FIRST_MICROSECONDS ? time / 1000 : time))),
  ];
  const votes = new Map<Interval, number>();
  for (const [index, time] of times.entries()) {
    const next = times[index + 1];
    const found = INTERVALS.find(
      (each) =>
        Number.isFinite(time) &&
        next === addSteps(each, floorToGrid(each, time), 1) &&
        floorToGrid(each, time) === time,
    );
    if (found !== undefined) votes.set(found, (votes.get(found) ?? 0) + 1);
  }
  const [best] = [...votes].sort((a, b) => b[1] - a[1]);
  if (best === undefined || best[0] === interval || !isInterval(best[0])) return;
  if (best[1] <= (times.length - 1) / 2) return;
  throw new KlinekeepError(
    'data',
    `Its candles are ${best[0]} apart; --interval says ${interval}.`,
    {
      hint: `Give --interval ${best[0]}, or the table that holds ${interval}.`,
    },
  );
}
