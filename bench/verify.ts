/**
 * All checks over five years of 1m (2.6 million candles) beside a bare count(*) and beside the
 * plain gap query, `lead() over (order by open_time)`, of the same table: all of it hot, then four
 * fifths archived, then damaged in a hundred places. And 500 series in one run, and --files beside a plain SQL
 * comparison of the same rows.
 *
 *     just bench verify             five rounds
 *     BENCH_ROUNDS=3 just bench verify
 *     npx tsx bench/verify.ts --files   verify --files alone
 *
 * Compare only ratios of one run: they are taken round by round, and the median is shown.
 */
import type postgres from 'postgres';
import { formatCount, formatTable } from '../lib/base/mod.ts';
import type { Instrument } from '../lib/market/mod.ts';
import { CANDLE_COLUMNS, runSql } from '../lib/postgres/mod.ts';
import { chooseInstruments } from '../lib/store/mod.ts';
import { checkInstrument } from '../lib/verify/mod.ts';
import { publish } from '../tests/support/fake-binance/bulk.ts';
import { startFakeBinance } from '../tests/support/fake-binance/server.ts';
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
/** Half a minute each. */
const FILES_ROUNDS = Math.min(ROUNDS, 3);
const SERIES_ROWS = 1440;

const CANDLE = CANDLE_COLUMNS.join(', ');
const COLUMNS = `instrument_id, interval, ${CANDLE}`;

interface Times {
  count: number;
  gaps: number;
  verify: number;
}

await withServer(async ({ url, sql }) => {
  if (process.argv.includes('--files')) return print(await measureFiles(sql, url));
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
  print(await measureFiles(sql, url));
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
    `${(took / SERIES).toFixed(1)} ms a series; ${grown.toFixed(0)} MB more memory`
  );
}

/**
 * verify --files: a published day of 1m for each of 500 symbols whose candles came over REST, beside plain SQL
 * that compares the same rows with those of a second table.
 */
async function measureFiles(sql: postgres.Sql, url: string): Promise<string> {
  const [day, next] = ['2024-01-15', '2024-01-16'];
  const bases = Array.from({ length: SERIES }, (_, n) => `FILE${n}`);
  const names = bases.map((base) => `${base}/USDT`);
  const fake = await startFakeBinance({
    nowMs: Date.parse('2024-01-17T03:37Z'),
    symbols: bases.map((base) => ({ market: 'spot', symbol: `${base}USDT`, base, quote: 'USDT' })),
  });
  const run = async (script: string, ...words: string[]) => {
    const { exitCode, stdout } = await runScript(script, [...words, '--json'], {
      DATABASE_URL: url,
      ...fake.env,
    });
    if (exitCode !== 0)
      throw new Error(`${script} ended with ${exitCode}: ${stdout.slice(0, 500)}`);
    return JSON.parse(stdout);
  };
  try {
    const range = ['--interval', '1m', '--since', day, '--until', next];
    await run('fetch-history', names[0]!, ...range, '--source', 'rest');
    const [fromMs, toMs] = [Date.parse(day), Date.parse(next) - 1];
    const rows = await fake.candles('spot', `${bases[0]}USDT`, '1m', fromMs, toMs);
    for (const [n, base] of bases.entries()) {
      if (n > 0) await copySeries(sql, names[0]!, await makeInstrument(sql, base));
      await publish(fake, day, { symbol: `${base}USDT`, interval: '1m', edit: () => rows });
    }
    await sql.unsafe(`
      create table published as
      select k.* from klines k join instruments i on i.id = k.instrument_id and i.base like 'FILE%';
      create unique index on published (instrument_id, interval, open_time)`);
    await sql.unsafe('vacuum analyze published, klines');
    const rounds: { plain: number; verify: number; files: number }[] = [];
    const words = ['--symbol', names.join(), '--from', day, '--to', next];
    const beforeBytes = process.memoryUsage().rss;
    for (let round = 0; round < FILES_ROUNDS; round++) {
      await sql`truncate compared_files`;
      const plain = await time(() => compareTables(sql));
      const verify = await time(() => run('verify-integrity', ...words));
      const files = await time(async () => {
        const { files } = await run('verify-integrity', ...words, '--files');
        if (files !== SERIES) throw new Error(`${files} files were compared`);
      });
      rounds.push({ plain, verify, files });
    }
    const grown = (process.memoryUsage().rss - beforeBytes) / 1e6;
    const line = (name: string, way: (round: (typeof rounds)[number]) => number) => {
      const ratios = rounds.map((round) => way(round) / round.plain);
      return [
        name,
        formatSeconds(median(rounds.map(way))),
        `${median(ratios).toFixed(2)} x`,
        formatRatios(ratios),
      ];
    };
    const title = `${SERIES} symbols, a day of 1m`;
    const table = formatTable(
      [title, 'seconds', 'to plain SQL', 'rounds'],
      [
        line('plain SQL, two tables', ({ plain }) => plain),
        line('verify', ({ verify }) => verify),
        line('verify --files', ({ files }) => files),
        line('of that, --files', ({ verify, files }) => files - verify),
      ],
    );
    const memory = `${grown.toFixed(0)} MB more memory`;
    return `\n${table}\n\nMedians of ${FILES_ROUNDS} rounds; ${memory}`;
  } finally {
    await fake.close();
  }
}

/** Stores the candles of one symbol for another one. */
async function copySeries(sql: postgres.Sql, from: string, { id }: Instrument): Promise<void> {
  await sql.unsafe(`
    insert into klines (${COLUMNS})
    select ${id}, interval, ${CANDLE}
    from klines
    where instrument_id = (select id from instruments where symbol = '${from}')`);
}

/** Compares all fields of the stored candles with those of the table `published`. */
async function compareTables(sql: postgres.Sql): Promise<void> {
  const values = (table: string) => CANDLE_COLUMNS.map((name) => `${table}.${name}`).join(', ');
  const [found] = await sql.unsafe(`
    select count(*)::int as differing
    from published p
    full join (
      select * from both_tiers where instrument_id in (select id from instruments where base like 'FILE%')
    ) as k using (instrument_id, interval, open_time)
    where (${values('p')}) is distinct from (${values('k')})`);
  if (found?.differing !== 0) throw new Error(`${found?.differing} candles differ`);
}
