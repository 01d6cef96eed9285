import {
  addSteps,
  ceilToGrid,
  countSlots,
  floorToGrid,
  type Interval,
  type Series,
  subtractRanges,
  type TimeRange,
} from '../market/mod.ts';
import type { Sql } from '../postgres/mod.ts';

/** From the first to the last slot of a series from which a candle was ever archived. */
export async function archivedRange(
  sql: Sql,
  { instrument, interval }: Series,
): Promise<TimeRange | undefined> {
  const [row] = await sql`
    select min(from_time) as from_time, max(to_time) as to_time
    from archive_batches
    where instrument_id = ${instrument.id} and interval = ${interval} and moved_rows > 0`;
  if (!row?.from_time) return undefined;
  return {
    fromMs: floorToGrid(interval, row.from_time.getTime()),
    toMs: addSteps(interval, floorToGrid(interval, row.to_time.getTime() - 1), 1),
  };
}

/**
 * The slots before the first and after the last stored candle that had candles earlier: archive
 * batches and loaded files were recorded with what they had.
 * @param span all slots from the first to the last stored candle; undefined: none is stored
 * @param files with the number of candles that are gone and do not lie in an empty slot of `span`
 */
export function lostEnds(
  interval: Interval,
  span: TimeRange | undefined,
  archived: TimeRange | undefined,
  files: readonly { range: TimeRange; lost: number }[],
): TimeRange[] {
  const short = files
    .filter((file) => file.lost > 0)
    .map(({ range, lost }) => ({
      fromMs: ceilToGrid(interval, range.fromMs),
      toMs: ceilToGrid(interval, range.toMs),
      lost,
    }));
  const known = archived ? [archived] : [];
  if (!span) return hull([...known, ...short]);
  for (const { fromMs, toMs, lost } of short) {
    // Of a file that reaches beyond both ends, the later candles are more likely to be lost.
    const tailMs = Math.max(fromMs, span.toMs);
    const inTail = Math.min(lost, countSlots(interval, { fromMs: tailMs, toMs }));
    if (inTail > 0) known.push({ fromMs: tailMs, toMs: addSteps(interval, tailMs, inTail) });
    const headMs = Math.min(toMs, span.fromMs);
    const inHead = Math.min(lost - inTail, countSlots(interval, { fromMs, toMs: headMs }));
    if (inHead > 0) known.push({ fromMs: addSteps(interval, headMs, -inHead), toMs: headMs });
  }
  return subtractRanges(hull([span, ...known]), [span]);
}

/** The shortest range that contains all of them; none if there are none. */
function hull(ranges: readonly TimeRange[]): TimeRange[] {
  if (ranges.length === 0) return [];
  return [
    ranges.reduce((all, range) => ({
      fromMs: Math.min(all.fromMs, range.fromMs),
      toMs: Math.max(all.toMs, range.toMs),
    })),
  ];
}
