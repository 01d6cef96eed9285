import type postgres from 'postgres';
import { archiveTableOf, compareShapes } from './archive-tables.ts';
import { type Check, type Finding, type FindingRow, findingOf, MAX_ROWS } from './findings.ts';
import type { Instrument } from './instruments.ts';
import { checkBatches } from './integrity-batches.ts';
import { countDays, type DayCounts, rowsOf, type TierTable } from './integrity-days.ts';
import { checkCoverage } from './integrity-missing.ts';
import { checkDays } from './integrity-rows.ts';
import { clipRanges, floorToGrid, INTERVALS, type Interval, type TimeRange } from './intervals.ts';
import type { Series } from './klines.ts';
import { instrumentHolder } from './locks.ts';
import { type StoredSeries, storedSeries } from './series.ts';
import { runSql, type Sql } from './sql-file.ts';
import { DAY_MS } from './time.ts';

export interface CheckOptions {
  /** None: all. */
  interval?: Interval | undefined;
  /** Open times that are looked at. Default: all. */
  fromMs?: number | undefined;
  toMs?: number | undefined;
  /** Hold the archive against what archive_batches says was moved there. */
  isDeep?: boolean;
}

/** What there is of one series, and what is wrong with it. */
export interface SeriesReport {
  series: Series;
  /** Candles looked at. */
  candles: number;
  /** Undefined: no candle is left. */
  stored: StoredSeries | undefined;
  findings: Finding[];
  /** Slots that hold no candle and should. */
  missing: TimeRange[];
}

export interface InstrumentReport {
  instrument: Instrument;
  series: SeriesReport[];
  /** Of its tables, not of one series. */
  findings: Finding[];
}

/**
 * Checks all series of an instrument on one snapshot: what other runs have not committed, or
 * commit meanwhile, is not seen.
 * @param sql a pool or a session without an open transaction
 */
export async function checkInstrument(
  sql: postgres.Sql,
  instrument: Instrument,
  options: CheckOptions = {},
): Promise<InstrumentReport> {
  const busyBefore = await instrumentHolder(sql, instrument.id);
  const report = await sql.begin('isolation level repeatable read read only', async (tx) => {
    const { nowMs, delistedAtMs } = await readFacts(tx, instrument);
    const bounds = { fromMs: options.fromMs ?? 0, toMs: options.toMs ?? nowMs + 1000 * DAY_MS };
    const facts = { nowMs, delistedAtMs, bounds, isDeep: options.isDeep ?? false };
    const busyWith = busyBefore ?? (await instrumentHolder(tx, instrument.id));
    const series: SeriesReport[] = [];
    for (const each of await knownSeries(tx, instrument, options.interval)) {
      series.push(
        await checkSeries(tx, { instrument, interval: each.interval }, each.stored, {
          ...facts,
          busyWith,
        }),
      );
    }
    for (const longer of series) {
      longer.findings.push(...(await checkRollup(tx, longer, series[0], bounds)));
    }
    const findings = [
      ...(await checkArchiveShape(tx, instrument)),
      ...(await checkIntervals(tx, instrument)),
    ];
    return { instrument, series, findings };
  });
  return report as InstrumentReport;
}

interface SeriesFacts {
  nowMs: number;
  delistedAtMs: number | undefined;
  bounds: TimeRange;
  isDeep: boolean;
  busyWith: string | undefined;
}

async function checkSeries(
  sql: Sql,
  series: Series,
  stored: StoredSeries | undefined,
  facts: SeriesFacts,
): Promise<SeriesReport> {
  const all = stored && { fromMs: stored.firstMs, toMs: stored.lastMs + 1 };
  const [range] = clipRanges(all ? [all] : [], facts.bounds);
  const days = range ? await countDays(sql, series, range) : new Map<number, DayCounts>();
  const coverage = await checkCoverage(sql, series, stored, { ...facts, days });
  const findings = [
    ...coverage.findings,
    ...(await checkDays(sql, series, days, facts.bounds, facts.nowMs)),
    ...(await checkTierBoundary(sql, series, facts.bounds)),
    ...(facts.isDeep ? await checkBatches(sql, series, facts.bounds) : []),
  ];
  const candles = [...days.values()].reduce((sum, day: DayCounts) => sum + rowsOf(day), 0);
  return { series, candles, stored, findings, missing: coverage.missing };
}

async function readFacts(sql: Sql, instrument: Instrument) {
  const [row] = await sql`
    select now() as now, delisted_at from instruments where id = ${instrument.id}`;
  return {
    nowMs: row?.now.getTime() as number,
    delistedAtMs: row?.delisted_at?.getTime() as number | undefined,
  };
}

/** The series that hold a candle, or of which bulk files or batches say that they did once. */
async function knownSeries(sql: Sql, instrument: Instrument, interval: Interval | undefined) {
  const stored = await storedSeries(sql, instrument, interval && [interval]);
  const noted = await sql`
    select interval from loaded_files where instrument_id = ${instrument.id} and rows > 0
    union
    select interval from archive_batches where instrument_id = ${instrument.id} and moved_rows > 0`;
  const names = new Set([...stored, ...noted].map((each) => each.interval));
  return INTERVALS.filter((each) => names.has(each) && (!interval || each === interval)).map(
    (each) => ({ interval: each, stored: stored.find((one) => one.interval === each) }),
  );
}

async function checkTierBoundary(sql: Sql, series: Series, bounds: TimeRange): Promise<Finding[]> {
  const rows = await runSql<{ tier: TierTable; open_time: Date; found: number }>(
    sql,
    'integrity/tier_boundary.sql',
    rangeValues(series, bounds),
  );
  const [first] = rows;
  if (!first) return [];
  return [
    findingOf(
      series,
      'tier-boundary',
      first.found,
      rows.map((row) => ({
        fromMs: row.open_time.getTime(),
        detail:
          row.tier === 'klines'
            ? 'in klines, the archive has newer ones'
            : 'archived, klines has older ones',
      })),
    ),
  ];
}

/**
 * Holds a series against what its 1m candles add up to. A candle that is odd, or that has an odd
 * minute, was reported for that.
 */
async function checkRollup(
  sql: Sql,
  longer: SeriesReport,
  minutes: SeriesReport | undefined,
  bounds: TimeRange,
): Promise<Finding[]> {
  const { series, stored } = longer;
  if (minutes?.series.interval !== '1m' || longer === minutes) return [];
  if (!stored || !minutes.stored) return [];
  const shared = {
    fromMs: Math.max(stored.firstMs, floorToGrid(series.interval, minutes.stored.firstMs)),
    toMs: minutes.stored.lastMs + 60_000,
  };
  const [range] = clipRanges([shared], bounds);
  if (!range) return [];
  const { listedAtMs } = series.instrument;
  const rows = await runSql<RollupRow>(sql, 'integrity/rollup.sql', {
    ...rangeValues(series, range),
    listed_time: listedAtMs === undefined ? '' : new Date(listedAtMs).toISOString(),
  });
  const told = new Set(
    [longer, minutes]
      .flatMap((report) => report.findings)
      .filter((finding) => TELL_ALONE.has(finding.check) && !finding.isPublished)
      .flatMap((finding) => finding.rows)
      .map((row) => floorToGrid(series.interval, row.fromMs)),
  );
  return [false, true].flatMap((isPublished) => {
    const same = rows.filter(
      (row) => row.is_published === isPublished && !told.has(row.open_time.getTime()),
    );
    if (same.length === 0) return [];
    // What was told already is among the first ones; the rest is only counted.
    const skipped = rows.filter((row) => row.is_published === isPublished).length - same.length;
    return [
      findingOf(series, 'rollup', same[0]!.found - skipped, same.map(toFindingRow), {
        isPublished,
      }),
    ];
  });
}

/** Checks of which one defect would show as a wrong roll-up once more. */
const TELL_ALONE: ReadonlySet<Check> = new Set<Check>([
  ...(['off-grid', 'doubled-slot', 'not-a-number', 'price-not-positive'] as const),
  ...(['impossible-ohlc', 'negative-volume', 'taker-above-total', 'no-volume'] as const),
  'in-both-tiers',
]);

interface RollupRow {
  open_time: Date;
  detail: string;
  row_hash: string;
  is_published: boolean;
  found: number;
}

function toFindingRow(row: { open_time: Date; detail: string; row_hash: string }): FindingRow {
  return { fromMs: row.open_time.getTime(), detail: row.detail, rowHash: row.row_hash };
}

/** What every SQL file about a range of one series asks for. */
export function rangeValues({ instrument, interval }: Series, range: TimeRange) {
  return {
    instrument_id: instrument.id,
    interval,
    from_time: new Date(range.fromMs),
    to_time: new Date(range.toMs),
    shown: MAX_ROWS,
  };
}

/** Whether the instrument's archive table, if there is one, has the shape of its candle table. */
async function checkArchiveShape(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const [found] = await sql`
    select
      to_regclass(format('%I', ${instrument.tableName}::text)) is not null
      and to_regclass(format('%I', ${archiveTableOf(instrument)}::text)) is not null as both`;
  if (!found?.both) return [];
  const differences = await compareShapes(sql, instrument);
  if (differences.length === 0) return [];
  const rows = differences.map((detail) => ({ fromMs: 0, detail }));
  return [findingOf({ instrument, interval: '-' }, 'archive-shape', rows.length, rows)];
}

/** Rows under an interval that Binance does not have: no reader would ever find them. */
async function checkIntervals(sql: Sql, instrument: Instrument): Promise<Finding[]> {
  const rows = await runSql<{ interval: string; tier: string; first_time: Date }>(
    sql,
    'integrity/unknown_intervals.sql',
    { instrument_id: instrument.id, intervals: INTERVALS.join(',') },
  );
  if (rows.length === 0) return [];
  return [
    findingOf(
      { instrument, interval: '-' },
      'unknown-interval',
      rows.length,
      rows.map((row) => ({
        fromMs: row.first_time.getTime(),
        detail: `interval ${JSON.stringify(row.interval)} in ${row.tier}`,
      })),
    ),
  ];
}
