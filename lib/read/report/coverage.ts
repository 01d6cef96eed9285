import type { Day } from './days.ts';

/**
 * What a day of a series looks like on the map, as one letter: `c`omplete, `a`rchived and
 * complete, `o`utage (all that is missing is known not to exist), `m`issing some, `x` missing all,
 * `n`othing expected yet.
 */
export type DayState = 'c' | 'a' | 'o' | 'm' | 'x' | 'n';

export interface Coverage {
  /** Runs of days, oldest first: `n120 a200 o1 c44`. */
  runs: string;
  /** Where candles are missing, by day: found, wanted, and how many do not exist. */
  lacking: Record<number, [found: number, wanted: number, gap: number]>;
  counts: Record<DayState, number>;
}

export function describeCoverage(days: readonly Day[]): Coverage {
  const counts: Coverage['counts'] = { c: 0, a: 0, o: 0, m: 0, x: 0, n: 0 };
  const lacking: Coverage['lacking'] = {};
  const runs: [DayState, number][] = [];
  for (const day of days) {
    const state = stateOf(day);
    counts[state] += 1;
    if (state === 'o' || state === 'm' || state === 'x') {
      lacking[day.index] = [day.found, day.wanted, day.gap];
    }
    const last = runs.at(-1);
    if (last?.[0] === state) last[1] += 1;
    else runs.push([state, 1]);
  }
  return { runs: runs.map(([state, count]) => `${state}${count}`).join(' '), lacking, counts };
}

function stateOf({ found, archived, wanted, gap }: Day): DayState {
  if (wanted === 0) return 'n';
  if (found >= wanted) return archived * 2 >= found ? 'a' : 'c';
  if (found + gap >= wanted) return 'o';
  return found === 0 ? 'x' : 'm';
}
