import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { freshDatabase } from '../support/database.ts';
import type { FakeSymbol } from '../support/fake-binance/symbols.ts';
import { recordedSymbols } from '../support/recordings.ts';
import { runScript } from '../support/script.ts';
import { startExchange } from '../support/store.ts';

async function setUp(symbols?: FakeSymbol[]) {
  const fake = await startExchange(symbols ? { symbols } : {});
  const { url, sql } = await freshDatabase();
  const sync = (...words: string[]) =>
    runScript('sync-instruments', words, { DATABASE_URL: url, ...fake.env });
  return { fake, sql, sync };
}

test('sync: registers active symbols and perpetuals only, and creates no table', async () => {
  const { sql, sync } = await setUp();
  expect((await sync('--market', 'spot')).exitCode).toBe(EXIT.done);
  expect((await sync('--market', 'usdm')).exitCode).toBe(EXIT.done);
  const rows =
    await sql`select market, symbol, exchange_symbol, status, table_name from instruments order by id`;
  const symbols = rows.map((row) => row.symbol);
  expect(symbols).toContain('币安人生/USDT');
  expect(symbols).toContain('BTC/USDT:USDT');
  expect(symbols).not.toContain('LUNA/USDT');
  expect(rows.map((row) => row.exchange_symbol)).not.toContain('BTCUSDT_261225');
  expect(rows.find((row) => row.symbol === '1000SHIB/USDT:USDT')).toMatchObject({
    market: 'usdm',
    status: 'active',
    table_name: '1000shib_usdt_perp',
  });
  const [tables] = await sql`select count(*)::int as made from pg_inherits`;
  expect(tables!.made).toBe(0);
});

test('sync: --quote selects, --dry-run changes nothing', async () => {
  const { sql, sync } = await setUp([
    { market: 'spot', symbol: 'BTCUSDT', base: 'BTC', quote: 'USDT' },
    { market: 'spot', symbol: 'ETHBTC', base: 'ETH', quote: 'BTC' },
  ]);
  const dry = await sync('--market', 'spot', '--dry-run');
  expect(dry.stdout).toContain('2 would be registered');
  expect(await sql`select 1 from instruments`).toHaveLength(0);
  await sync('--market', 'spot', '--quote', 'btc');
  expect(await sql`select symbol from instruments`).toEqual([{ symbol: 'ETH/BTC' }]);
});

test('sync: delists what stops trading, and never deletes it', async () => {
  const { fake, sql, sync } = await setUp();
  await sync('--market', 'spot');
  const spot = (symbol: string) =>
    fake.symbols.find((each) => each.market === 'spot' && each.symbol === symbol)!;
  spot('ADAUSDT').status = 'BREAK';
  const [xrp] = fake.symbols.splice(fake.symbols.indexOf(spot('XRPUSDT')), 1);
  const gone = await sync();
  expect(gone.stdout).toContain('0 active again, 2 delisted (ADA/USDT, XRP/USDT)');
  expect(
    await sql`select symbol from instruments where status = 'delisted' and delisted_at is not null order by 1`,
  ).toEqual([{ symbol: 'ADA/USDT' }, { symbol: 'XRP/USDT' }]);
  spot('ADAUSDT').status = 'TRADING';
  fake.symbols.push(xrp!);
  const back = await sync('--json');
  expect(JSON.parse(back.stdout).markets[0].relisted.sort()).toEqual(['ADA/USDT', 'XRP/USDT']);
  expect(
    await sql`select 1 from instruments where status = 'delisted' or delisted_at is not null`,
  ).toHaveLength(0);
});

test('sync: registers no new symbols without --market', async () => {
  const { fake, sql, sync } = await setUp();
  expect((await sync()).stdout).toContain('Nothing is registered yet');
  await sync('--market', 'spot');
  fake.symbols.push({ market: 'spot', symbol: 'NEWUSDT', base: 'NEW', quote: 'USDT' });
  await sync();
  expect(await sql`select 1 from instruments where symbol = 'NEW/USDT'`).toHaveLength(0);
});

test('sync: ends with 69 when the exchange lists no symbol, and delists none', async () => {
  const { fake, sql, sync } = await setUp();
  await sync('--market', 'spot');
  fake.symbols = [];
  const result = await sync();
  expect(result.exitCode).toBe(EXIT.unavailable);
  expect(await sql`select 1 from instruments where status = 'delisted'`).toHaveLength(0);
});

test('the recorded exchangeInfo of 2022 and 2023: every symbol fits, and the changes add up', async () => {
  const before = recordedSymbols('spot-20221103');
  const after = recordedSymbols('spot-20230908');
  const trading = (symbols: FakeSymbol[]) =>
    new Set(symbols.filter((each) => each.status === 'TRADING').map((each) => each.symbol));
  const { fake, sql, sync } = await setUp([...before, ...recordedSymbols('usdm-20210906')]);
  await sync('--market', 'spot');
  await sync('--market', 'usdm');
  const [counts] = await sql`
    select count(*) filter (where market = 'spot')::int as spot, count(*) filter (where market = 'usdm')::int as usdm,
      max(octet_length(table_name)) as longest, count(distinct table_name)::int as tables
    from instruments`;
  expect(counts!.spot).toBe(trading(before).size);
  expect(counts!.tables).toBe(counts!.spot + counts!.usdm);
  expect(counts!.longest).toBeLessThanOrEqual(55);

  fake.symbols = after;
  const result = JSON.parse((await sync('--market', 'spot', '--json')).stdout).markets[0];
  const stopped = [...trading(before)].filter((symbol) => !trading(after).has(symbol));
  const begun = [...trading(after)].filter((symbol) => !trading(before).has(symbol));
  expect([result.delisted.length, result.registered.length]).toEqual([
    stopped.length,
    begun.length,
  ]);
  const [active] =
    await sql`select count(*)::int as symbols from instruments where market = 'spot' and status = 'active'`;
  expect(active!.symbols).toBe(trading(after).size);
});
