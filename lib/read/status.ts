import type postgres from 'postgres';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  countSlots,
  floorToGrid,
  INTERVALS,
  type Instrument,
  type Interval,
  type TimeRange,
} from '../market/mod.ts';
import { columnList, renderSql, runSql, SqlText } from '../postgres/mod.ts';

/** What is stored of one series. Times are open times, Unix ms. */
export interface SeriesStatus {
  interval: Interval;
  firstMs: number;
  lastMs: number;
  /** For how long the next candle has been closed; 0 when up to date. */
  behindMs: number;
  /** Undefined: that tier holds none. */
  hot: TimeRange | undefined;
  archived: TimeRange | undefined;
  /** The slots between first and last without those known to be empty: nothing is counted. */
  rows: { hot: number; archive: number };
  /** What the exchange was asked for and does not have. */
  gaps: TimeRange[];
  /** Candles that the gaps would hold. */
  gapCandles: number;
}

export interface InstrumentStatus {
  instrument: Instrument;
  /** Tables and indexes, as of their last VACUUM or ANALYZE. */
  bytes: { hot: number; archive: number };
  series: SeriesStatus[];
}

interface EndsRow {
  instrument_id: number;
  interval: Interval;
  first_hot_time: Date | null;
  last_hot_time: Date | null;
  first_archived_time: Date | null;
  last_archived_time: Date | null;
}

/** So many instruments share a statement: the planner's work is most of it. */
const INSTRUMENTS_AT_ONCE = 25;

/**
 * What is stored of each instrument, from the ends of indexes and the catalogue: a second for a
 * thousand series, however long they are.
 * @param intervals only these
 */
export async function storeStatus(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  nowMs: number,
  intervals: readonly Interval[] = INTERVALS,
): Promise<InstrumentStatus[]> {
  const access = await readAccess(sql);
  const [tables, gaps] = await Promise.all([
    runSql<TableRow>(sql, 'read/tables.sql'),
    access.has('confirmed_gaps') ? allGaps(sql) : new Map<string, TimeRange[]>(),
  ]);
  const table = (tier: TableRow['tier']) =>
    new Map(tables.filter((each) => each.tier === tier).map((each) => [each.instrument_id, each]));
  const [hot, archive] = [table('hot'), table('archive')];
  const holding = instruments.filter(({ id }) => hot.has(id));
  const series = new Map<number, EndsRow[]>();
  for (const row of await ends(sql, holding, { hot, archive, access }, intervals)) {
    series.set(row.instrument_id, [...(series.get(row.instrument_id) ?? []), row]);
  }
  return holding.map((instrument) => ({
    instrument,
    bytes: {
      hot: hot.get(instrument.id)?.bytes ?? 0,
      archive: archive.get(instrument.id)?.bytes ?? 0,
    },
    series: (series.get(instrument.id) ?? []).map((row) =>
      describe(row, gaps.get(`${instrument.id} ${row.interval}`) ?? [], nowMs),
    ),
  }));
}

interface TableRow {
  tier: 'hot' | 'archive';
  instrument_id: number;
  table_name: string;
  is_readable: boolean;
  bytes: number;
}

interface Sources {
  hot: ReadonlyMap<number, TableRow>;
  archive: ReadonlyMap<number, TableRow>;
  access: ReadonlySet<string>;
}

/** Of the tables that status looks at, those that this role may read. */
export async function readAccess(sql: postgres.Sql): Promise<Set<string>> {
  const rows = await runSql<{ name: string; may: boolean }>(sql, 'read/readable.sql');
  return new Set(rows.filter(({ may }) => may).map(({ name }) => name));
}

/**
 * The instruments that have a table, for a role that may not read `instruments`: by the symbol that
 * all_klines shows, else by the name of the table.
 */
export async function instrumentsByTable(
  sql: postgres.Sql,
  access: ReadonlySet<string>,
): Promise<Instrument[]> {
  const tables = await runSql<TableRow>(sql, 'read/tables.sql');
  const found: Instrument[] = [];
  for (const { tier, instrument_id: id, table_name: tableName } of tables) {
    if (tier !== 'hot') continue;
    const [named] = access.has('all_klines')
      ? await sql`select symbol, market from all_klines where instrument_id = ${id} limit 1`
      : [];
    found.push({
      id,
      tableName,
      market: named?.market ?? 'spot',
      symbol: named?.symbol ?? tableName,
      exchangeSymbol: '',
      status: 'active',
      listedAtMs: undefined,
      needsCheck: false,
    });
  }
  return found.sort((a, b) => (a.symbol < b.symbol ? -1 : 1));
}

/**
 * Where to read an instrument's candles of one tier: its own table, which is the quickest, else what
 * the role may read, else the tier itself, where PostgreSQL then says what is missing.
 */
function readFrom(tier: 'hot' | 'archive', { id }: Instrument, sources: Sources): SqlText {
  const table = sources[tier].get(id);
  if (table?.is_readable) return columnList([table.table_name]);
  const parent = tier === 'hot' ? 'klines' : 'klines_archive';
  if (sources.access.has(parent)) return columnList([parent]);
  if (sources.access.has('all_klines'))
    return new SqlText(`(select * from all_klines where tier = '${tier}') as ${parent}`);
  // Nothing of this tier can be read: it is shown without.
  return tier === 'archive' && sources.access.has('klines')
    ? new SqlText('(select * from klines where false) as klines_archive')
    : columnList([parent]);
}

/** First and last candle of each series, in each tier. */
async function ends(
  sql: postgres.Sql,
  instruments: readonly Instrument[],
  sources: Sources,
  intervals: readonly Interval[],
): Promise<EndsRow[]> {
  const statements: string[] = [];
  for (let at = 0; at < instruments.length; at += INSTRUMENTS_AT_ONCE) {
    const selects = instruments.slice(at, at + INSTRUMENTS_AT_ONCE).map((instrument) =>
      renderSql('read/series_ends.sql', {
        instrument_id: instrument.id,
        hot: readFrom('hot', instrument, sources),
        // The parent holds nothing of an instrument that has no partition there.
        archive: readFrom('archive', instrument, sources),
        intervals: intervals.join(','),
      }),
    );
    statements.push(selects.join('\nunion all\n'));
  }
  const results = await Promise.all(statements.map((text) => sql.unsafe<EndsRow[]>(text)));
  return results.flatMap((rows) => [...rows]);
}

async function allGaps(sql: postgres.Sql): Promise<Map<string, TimeRange[]>> {
  const rows = await sql`
    select instrument_id, interval, from_time, to_time from confirmed_gaps
    order by instrument_id, interval, from_time`;
  const gaps = new Map<string, TimeRange[]>();
  for (const row of rows) {
    const key = `${row.instrument_id} ${row.interval}`;
    const range = { fromMs: row.from_time.getTime(), toMs: row.to_time.getTime() };
    gaps.set(key, [...(gaps.get(key) ?? []), range]);
  }
  return gaps;
}

function describe(row: EndsRow, gaps: TimeRange[], nowMs: number): SeriesStatus {
  const { interval } = row;
  const hot = tierOf(interval, row.first_hot_time, row.last_hot_time);
  const archived = tierOf(interval, row.first_archived_time, row.last_archived_time);
  const tiers = [archived, hot].filter((tier) => tier !== undefined);
  const lastMs = Math.max(
    row.last_hot_time?.getTime() ?? 0,
    row.last_archived_time?.getTime() ?? 0,
  );
  const nextClosedMs = addSteps(interval, floorToGrid(interval, lastMs), 2);
  const countRows = (tier: TimeRange | undefined) =>
    tier ? countSlots(interval, tier) - countAllSlots(interval, clipRanges(gaps, tier)) : 0;
  return {
    interval,
    firstMs: Math.min(...tiers.map((tier) => tier.fromMs)),
    lastMs,
    behindMs: Math.max(0, nowMs - nextClosedMs),
    hot,
    archived,
    rows: { hot: countRows(hot), archive: countRows(archived) },
    gaps,
    gapCandles: countAllSlots(interval, gaps),
  };
}

function tierOf(interval: Interval, first: Date | null, last: Date | null): TimeRange | undefined {
  if (!first || !last) return undefined;
  return {
    fromMs: floorToGrid(interval, first.getTime()),
    toMs: addSteps(interval, floorToGrid(interval, last.getTime()), 1),
  };
}
