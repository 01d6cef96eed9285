import type { Day } from './days.ts';

/**
 * The state of a day on the map: `c` complete, `a` complete and archived, `o` outage (the exchange does
 * not have what is missing), `m` some candles are missing, `x` all are missing, `n` none is expected.
 */
export type DayState = 'c' | 'a' | 'o' | 'm' | 'x' | 'n';

export interface Coverage {
  /** Consecutive days of one state, oldest first: `n120 a200 o1 c44`. */
  runs: string;
  /** The days with missing candles, by index; `gap`: how many the exchange does not have. */
  incomplete: Record<number, [found: number, wanted: number, gap: number]>;
  counts: Record<DayState, number>;
}

/** Sums up the days of a series for the map. */
export function toCoverage(days: readonly Day[]): Coverage {
  const counts: Coverage['counts'] = { c: 0, a: 0, o: 0, m: 0, x: 0, n: 0 };
  const incomplete: Coverage['incomplete'] = {};
  const runs: [DayState, number][] = [];
  for (const day of days) {
    const state = stateOf(day);
    counts[state] += 1;
    if (state === 'o' || state === 'm' || state === 'x') {
      incomplete[day.index] = [day.found, day.wanted, day.gap];
    }
    const last = runs.at(-1);
    if (last?.[0] === state) last[1] += 1;
    else runs.push([state, 1]);
  }
  return { runs: runs.map(([state, count]) => `${state}${count}`).join(' '), incomplete, counts };
}

function stateOf({ found, archived, wanted, gap }: Day): DayState {
  if (wanted === 0) return 'n';
  if (found >= wanted) return archived * 2 >= found ? 'a' : 'c';
  if (found + gap >= wanted) return 'o';
  return found === 0 ? 'x' : 'm';
}
