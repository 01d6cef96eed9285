/** What the option --recheck-gaps of the script verify does. */
import type { Context } from '../lib/cli/mod.ts';
import { type RecheckCounts, recheckGaps } from '../lib/download/mod.ts';
import { INTERVALS, type Instrument } from '../lib/market/mod.ts';
import { eachInstrument, type InstrumentResult, longestUnaskedGaps } from '../lib/store/mod.ts';

type EachOptions = Parameters<typeof eachInstrument>[2];
/** The interval and the open times of the gaps. Default: all. */
type RecheckFilter = Parameters<typeof longestUnaskedGaps>[2];

/** What requesting confirmed gaps again has led to. */
export interface Rechecked extends RecheckCounts {
  /** Candles that were stored. */
  filled: number;
}

/**
 * Requests confirmed gaps again, those first that were not requested for the longest time.
 * @param limit how many, in all series together
 */
export async function recheck(
  limit: number,
  filter: RecheckFilter,
  context: Context,
  instruments: readonly Instrument[],
  policy: EachOptions,
): Promise<InstrumentResult<Rechecked>[]> {
  if (limit === 0) return [];
  const database = await context.database();
  const ids = instruments.map(({ id }) => id);
  const gaps = await longestUnaskedGaps(database.sql, ids, filter, limit);
  const concerned = instruments.filter(({ id }) => gaps.some((gap) => gap.instrumentId === id));
  if (concerned.length === 0) return [];
  const source = await context.rest();
  return await eachInstrument(
    database,
    concerned,
    policy,
    async ({ session, instrument, signal }) => {
      const total: Rechecked = { shown: 0, forgotten: 0, unclear: 0, filled: 0 };
      for (const interval of INTERVALS) {
        const own = gaps.filter(
          (gap) => gap.instrumentId === instrument.id && gap.interval === interval,
        );
        const download = { source, session, series: { instrument, interval }, signal };
        const { counts, rechecked } = await recheckGaps(download, own);
        total.shown += rechecked.shown;
        total.forgotten += rechecked.forgotten;
        total.unclear += rechecked.unclear;
        total.filled += counts.inserted;
      }
      return total;
    },
  );
}

/** Adds up what was done to each instrument. */
export function sumRechecked(counts: readonly Rechecked[]): Rechecked {
  const sum = (field: keyof Rechecked) => counts.reduce((all, each) => all + each[field], 0);
  return {
    shown: sum('shown'),
    forgotten: sum('forgotten'),
    unclear: sum('unclear'),
    filled: sum('filled'),
  };
}
