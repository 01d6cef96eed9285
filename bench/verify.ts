/**
 * All checks over five years of 1m (2.6 million candles) beside a bare count(*) and beside the
 * plain gap query, `lead() over (order by open_time)`, of the same table: all of it hot, then four
 * fifths archived, then damaged in a hundred places. And 500 series in one run.
 *
 *     just bench verify             five rounds
 *     BENCH_ROUNDS=3 just bench verify
 *
 * Compare only ratios of one run: they are taken round by round, and the median is shown.
 */
import type postgres from 'postgres';
import { formatCount, formatTable } from '../lib/base/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import { CANDLE_COLUMNS, runSql } from '../lib/postgres/mod.ts';
import { chooseInstruments } from '../lib/store/mod.ts';
import { checkInstrument } from '../lib/verify/mod.ts';
import { runScript } from '../tests/support/script.ts';
import {
  formatRatios,
  formatSeconds,
  median,
  print,
  readRounds,
  time,
  withServer,
} from './support.ts';

const ROUNDS = readRounds(5);
const ROWS = 2_628_000;
const SERIES = 500;
const SERIES_ROWS = 1440;

const CANDLE = CANDLE_COLUMNS.join(', ');
const COLUMNS = `instrument_id, interval, ${CANDLE}`;

interface Times {
  count: number;
  gaps: number;
  verify: number;
}

await withServer(async ({ url, sql }) => {
  const [settings] = await sql`
    select current_setting('work_mem') as work_mem, current_setting('shared_buffers') as shared_buffers`;
  const instrument = await makeInstrument(sql, 'BTC');
  await fill(sql, instrument, ROWS);
  const rows = await measure(sql, instrument, 'all of it hot', 0);
  await archiveMost(sql, instrument);
  rows.push(...(await measure(sql, instrument, 'four fifths archived', 0)));
  await damage(sql, instrument);
  rows.push(...(await measure(sql, instrument, 'damaged in 100 places', 3)));
  print(formatTable(['2.6 M candles of 1m', 'seconds', 'to gap query', 'rounds'], rows));
  print(
    `\nMedians of ${ROUNDS} rounds; work_mem ${settings?.work_mem}, shared_buffers ${settings?.shared_buffers}\n`,
  );
  print(await manySeries(sql, url));
});

async function makeInstrument(sql: postgres.Sql, base: string): Promise<Instrument> {
  const hot = `${base.toLowerCase()}_usdt`;
  const [row] = await sql`
    insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
    values ('spot', ${`${base}/USDT`}, ${`${base}USDT`}, ${base}, 'USDT', 'active', ${hot})
    returning id`;
  await runSql(sql, ['store/create_table.sql', 'archive/create_archive_table.sql'], {
    hot,
    archive: `${hot}_archive`,
    instrument_id: row?.id,
  });
  const symbols = [{ market: 'spot' as const, exchangeSymbol: `${base}USDT` }];
  const [instrument] = await chooseInstruments(sql, { symbols, market: undefined });
  return instrument as Instrument;
}

/** Candles up to now, with prices that wander. */
async function fill(sql: postgres.Sql, { id }: Instrument, rows: number): Promise<void> {
  await sql.unsafe(`
    insert into klines (${COLUMNS})
    select ${id}, '1m', t, t + interval '59.999 s', p, p + 10.12, p - 9.87, p + 1.5,
      10.12345678 + i % 7, 200000.12345678 + i % 100, 100 + i % 50, 5.12345678, 100000.12345678
    from generate_series(1, ${rows}) as i,
      lateral (select date_trunc('minute', now()) - i * interval '1 minute' as t, 20000 + i % 1000 / 10.0 as p) as x
    order by i desc`);
  await sql.unsafe('vacuum analyze klines');
}

async function archiveMost(sql: postgres.Sql, { id, tableName }: Instrument): Promise<void> {
  await sql.unsafe(`
    with moved as (
      delete from klines where instrument_id = ${id} and open_time < now() - interval '365 days' returning ${COLUMNS}
    )
    insert into klines_archive (${COLUMNS}) select ${COLUMNS} from moved order by open_time`);
  await sql.unsafe(`vacuum (analyze, full) "${tableName}"`);
  await sql.unsafe(`vacuum analyze "${tableName}", "${tableName}_archive"`);
}

/** A hundred days with something in them, over both tiers. */
async function damage(sql: postgres.Sql, { id }: Instrument): Promise<void> {
  for (const table of ['klines', 'klines_archive']) {
    for (let place = 1; place <= 50; place++) {
      const at = `(select min(open_time) + ${place} * (max(open_time) - min(open_time)) / 51 from ${table} where instrument_id = ${id})`;
      const range = `instrument_id = ${id} and open_time between ${at} and ${at} + interval '3 minutes'`;
      const harm = [
        `delete from ${table} where ${range}`,
        `update ${table} set volume = -1 where ${range}`,
        `update ${table} set high_price = 1 where ${range}`,
        `update ${table} set open_time = open_time + interval '14.789 s' where ${range}`,
        `update ${table} set close_price = close_price * 3, high_price = high_price * 3 where ${range}`,
      ];
      await sql.unsafe(harm[place % harm.length]!);
    }
  }
}

async function measure(
  sql: postgres.Sql,
  instrument: Instrument,
  title: string,
  minFindings: number,
): Promise<(string | number)[][]> {
  const rounds: Times[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const count = await time(
      () =>
        sql`select count(*) from both_tiers where instrument_id = ${instrument.id} and interval = '1m'`,
    );
    const gaps = await time(() => gapQuery(sql, instrument));
    const verify = await time(async () => {
      const { series } = await checkInstrument(sql, instrument);
      const findings = series.flatMap((each) => each.findings);
      if (findings.length < minFindings || (minFindings === 0 && findings.length > 0))
        throw new Error(`found ${JSON.stringify(findings.map((each) => each.check))}`);
    });
    rounds.push({ count, gaps, verify });
  }
  const line = (name: string, way: keyof Times) => {
    const ratios = rounds.map((round) => round[way] / round.gaps);
    return [
      name,
      formatSeconds(median(rounds.map((round) => round[way]))),
      `${median(ratios).toFixed(2)} x`,
      formatRatios(ratios),
    ];
  };
  return [
    line(`count(*), ${title}`, 'count'),
    line('plain gap query', 'gaps'),
    line('verify, all checks', 'verify'),
  ];
}

async function gapQuery(sql: postgres.Sql, { id }: Instrument): Promise<unknown> {
  return await sql`
    select open_time, next_time
    from (
      select open_time, lead(open_time) over (order by open_time) as next_time
      from both_tiers
      where instrument_id = ${id} and interval = '1m'
    ) as pairs
    where next_time > open_time + interval '1 minute'`;
}

async function manySeries(sql: postgres.Sql, url: string): Promise<string> {
  for (let n = 0; n < SERIES; n++) {
    const instrument = await makeInstrument(sql, `COIN${n}`);
    await sql.unsafe(`
      insert into klines (${COLUMNS})
      select ${instrument.id}, interval, ${CANDLE}
      from klines
      where instrument_id = 1
      order by open_time desc
      limit ${SERIES_ROWS}`);
  }
  await sql.unsafe('analyze klines');
  const symbols = Array.from({ length: SERIES }, (_, n) => `COIN${n}/USDT`).join(',');
  const before = process.memoryUsage().rss;
  const took = await time(async () => {
    const { exitCode } = await runScript('verify-integrity', ['--symbol', symbols], {
      DATABASE_URL: url,
    });
    if (exitCode !== 0) throw new Error(`verify-integrity ended with ${exitCode}`);
  });
  const grown = (process.memoryUsage().rss - before) / 1e6;
  return (
    `${SERIES} series of ${formatCount(SERIES_ROWS)} candles in one run: ${(took / 1000).toFixed(1)} s, ` +
    `${(took / SERIES).toFixed(1)} ms a series; ${grown.toFixed(0)} MB of memory more than before`
  );
}
