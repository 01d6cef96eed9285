import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { DAY_MS, startOfDay } from '../../lib/base/time.ts';
import { encodeChart } from '../../lib/read/report/chart.ts';
import { collectReport } from '../../lib/read/report/data.ts';
import { formatReport } from '../../lib/read/report/page.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { browserNote, browserPath, startBrowser } from '../support/browser.ts';
import { makeFolder, startStore } from '../support/store.ts';

const DAYS = 60;
const HOUR_MS = 3_600_000;

/**
 * BTC/USDT is complete and archived up to 30 days ago. Of ETH/USDT one day is missing, another is
 * incomplete, and a third has an outage. SOL/USDT has a few weekly candles.
 */
async function setUp() {
  const todayMs = startOfDay(Date.now());
  const store = await startStore({ nowMs: Math.floor(Date.now() / HOUR_MS) * HOUR_MS });
  const { sql } = store;
  const run = async (name: string, ...words: string[]) => {
    const result = await store.run(name, ...words);
    expect(result).toMatchObject({ exitCode: EXIT.done });
    return result;
  };
  await run('fetch-history', 'BTC/USDT', 'ETH/USDT', '--interval', '1h', '--since', '100d');
  await run('fetch-history', 'SOL/USDT', '--interval', '1w', '--since', '40d');
  // Two days only: the map shows the hours, which reach further back.
  await run('fetch-history', 'BTC/USDT', '--interval', '15m', '--since', '2d');
  await run('archive', '30', '--interval', '1h');
  const day = (ago: number) => new Date(todayMs - ago * DAY_MS);
  const remove = async (from: Date, hours: number) => {
    const to = new Date(from.getTime() + hours * HOUR_MS);
    await sql`
      delete from klines
      where instrument_id = (select id from instruments where symbol = 'ETH/USDT')
        and open_time >= ${from} and open_time < ${to}`;
    return to;
  };
  await remove(day(20), 24);
  await remove(day(10), 5);
  const to = await remove(day(5), 3);
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    select id, '1h', ${day(5)}, ${to} from instruments where symbol = 'ETH/USDT'`;
  const file = join(await makeFolder(), 'report.html');
  const words = ['--days', String(DAYS), '--output', file];
  const makeReport = () => run('report', ...words);
  const isoDay = (ago: number) => day(ago).toISOString().slice(0, 10);
  return { sql, file, makeReport, isoDay };
}

test('report: shows each day as complete, archived, outage or missing', async () => {
  const { sql } = await setUp();
  const options = { days: DAYS, nowMs: Date.now() };
  const { series } = await collectReport(sql, await listInstruments(sql), options);
  const [btc, eth, sol] = series;
  expect(btc).toMatchObject({
    series: { interval: '1h' },
    coverage: { runs: 'a30 c30', incomplete: {}, counts: { a: 30, c: 30, m: 0, x: 0 } },
  });
  expect(eth).toMatchObject({
    coverage: {
      runs: 'a30 c10 x1 c9 m1 c4 o1 c4',
      incomplete: { 40: [0, 24, 0], 50: [19, 24, 0], 55: [21, 24, 3] },
    },
  });
  // A week stands for its days; before the first one nothing is expected.
  expect(sol?.coverage.runs).toMatch(/^n(1[5-9]|2\d) c\d\d( x\d)?$/);
  expect(sol?.coverage.counts.c).toBeGreaterThanOrEqual(28);
});

test('report: samples series that are too long to read, and notes it', async () => {
  const { sql } = await setUp();
  const options = { days: DAYS, nowMs: Date.now(), mostRows: DAYS * 24 };
  const data = await collectReport(sql, await listInstruments(sql), options);
  const [btc, eth] = data.series;
  expect(btc).toMatchObject({ sampled: undefined, chart: expect.any(Object) });
  expect(eth).toMatchObject({
    sampled: 24,
    chart: undefined,
    coverage: { runs: 'a30 c10 x1 c9 m1 c4 o1 c4' },
  });
  expect(formatReport(data)).toContain('24 moments of each day were checked');
});

test('report: ignores duplicates and filled gaps in its counts', async () => {
  const { sql, isoDay } = await setUp();
  const at = (ago: number, hour: number) => new Date(Date.parse(isoDay(ago)) + hour * HOUR_MS);
  const [btc] = await sql`select id from instruments where symbol = 'BTC/USDT'`;
  const hours = sql`instrument_id = ${btc?.id} and interval = '1h'`;
  for (const ago of [8, 6]) {
    await sql`delete from klines where ${hours} and open_time >= ${at(ago, 3)} and open_time < ${at(ago, 6)}`;
  }
  await sql`
    insert into klines_archive
    select * from klines where ${hours} and open_time >= ${at(8, 12)} and open_time < ${at(8, 15)}`;
  await sql`
    insert into confirmed_gaps (instrument_id, interval, from_time, to_time)
    values (${btc?.id}, '1h', ${at(6, 12)}, ${at(6, 17)})`;
  const { series } = await collectReport(sql, await listInstruments(sql), {
    days: DAYS,
    nowMs: Date.now(),
  });
  expect(series[0]?.coverage).toMatchObject({
    runs: 'a30 c22 m1 c1 m1 c5',
    incomplete: { 52: [21, 24, 0], 54: [21, 24, 0] },
  });
});

test('encodeChart(): leaves out days with an invalid price', () => {
  const day = { found: 1, archived: 0, wanted: 1, gap: 0 };
  const chart = encodeChart([
    { ...day, index: 0, prices: [10, 12, 9, 11] },
    { ...day, index: 1, prices: [10, Number.NaN, 9, 11] },
    { ...day, index: 2, prices: [-10, 12, -10, 11] },
    { ...day, index: 3, prices: [10, 12, 9, 11] },
  ]);
  expect(chart).toMatchObject({ scale: 4 });
  expect(chart?.values.filter((_, at) => at % 5 === 0)).toEqual([0, 3]);
});

test('encodeChart(): keeps six significant digits', () => {
  const days = [
    { index: 3, prices: [28041.11, 28085.06, 27941, 28039.71] as [number, number, number, number] },
    { index: 5, prices: [28039.71, 28091.03, 27963.84, 28080] as [number, number, number, number] },
  ];
  const packed = encodeChart(
    days.map((day) => ({ ...day, found: 1, archived: 0, wanted: 1, gap: 0 })),
  );
  expect(packed).toEqual({
    scale: 1,
    values: [3, 280411, 440, 1001, -14, 2, 0, 513, 759, 403],
  });
  expect(encodeChart([])).toBeUndefined();
});

test('report: writes a page that loads no other file and escapes names', async () => {
  const { sql, makeReport, file } = await setUp();
  await sql`update instruments set symbol = '<b>&/USDT' where symbol = 'BTC/USDT'`;
  const result = await makeReport();
  expect(result.stdout).toMatch(/report\.html: 3 symbols, 60 days, \d+\.\d kB\n$/);
  const page = await readFile(file, 'utf8');
  expect(page).not.toMatch(/<(?:script|link|img)[^>]+(?:src|href)=/);
  expect(page).toContain('&#60;b&#62;&#38;/USDT');
  expect(page).not.toContain('<b>&');
  expect(page).not.toContain('{{');
});

test('report: leaves no partial file if it cannot be written', async () => {
  const folder = await makeFolder();
  const { run } = await startStore();
  await writeFile(join(folder, 'old.html'), 'old');
  await mkdir(join(folder, 'taken.html'));
  const result = await run('report', '--output', join(folder, 'taken.html'));
  expect(result.exitCode).toBe(EXIT.failed);
  expect(result.stderr).toContain('taken.html: ');
  expect((await readdir(folder)).sort()).toEqual(['old.html', 'taken.html']);
});

test.skipIf(!browserPath)(
  `page: draws charts, shows days by mouse and keyboard, filters rows${browserNote}`,
  async () => {
    const { makeReport, file, isoDay } = await setUp();
    await makeReport();
    const { page, problems } = await openPage(file, { width: 1100, height: 900 });

    // The first symbol's chart is there, with the boundary; another one can be chosen.
    expect(await page.locator('#chart canvas').count()).toBeGreaterThan(0);
    expect(await page.textContent('#chart-text')).toContain(
      `Archived before ${isoDay(30)}, left of the dashed line.`,
    );
    await page.selectOption('#chart-symbol', { label: 'ETH/USDT' });
    expect(await page.textContent('#chart-text')).toMatch(/^ETH\/USDT, 59 days from 1h candles/);
    await page.click('text=SOL/USDT >> visible=true');
    expect(await page.textContent('tr.chosen button')).toBe('SOL/USDT');
    expect(await page.textContent('#chart-text')).toMatch(/^SOL\/USDT, .* No candle is archived\./);

    // The mouse.
    const eth = page.locator('tr', { hasText: 'ETH/USDT' }).locator('canvas');
    const box = (await eth.boundingBox())!;
    await page.mouse.move(box.x + (box.width * 55.5) / DAYS, box.y + 8);
    expect(await page.textContent('#readout')).toBe(
      `ETH/USDT 1h, ${isoDay(5)}, outage: 21 of 24 candles, 3 not at the exchange`,
    );
    expect(await colorsOf(page, 1, [10.5, 35.5, 40.5, 55.5])).toEqual([
      '#9cc3ef',
      '#2a78d6',
      '#c6303b',
      '#d99a0b',
    ]);

    // The keyboard: one stop for the whole map.
    await page.focus('#only-missing');
    await page.keyboard.press('Tab');
    await page.keyboard.press('ArrowUp');
    expect(await page.locator('canvas[tabindex="0"]').count()).toBe(1);
    await page.keyboard.press('End');
    await page.keyboard.press('Home');
    for (let step = 0; step < 10; step++) await page.keyboard.press('ArrowRight');
    await page.keyboard.press('PageDown');
    const focused = page.locator('canvas:focus');
    expect(await focused.getAttribute('role')).toBe('slider');
    const label = await focused.getAttribute('aria-label');
    if (label === 'Days of BTC/USDT') await page.keyboard.press('ArrowDown');
    expect(await page.locator('canvas:focus').getAttribute('aria-valuetext')).toBe(
      `${isoDay(20)}, missing: 0 of 24 candles`,
    );
    await page.keyboard.press('Enter');
    expect(await page.textContent('tr.chosen button')).toBe('ETH/USDT');

    // Filters.
    const shown = () => page.locator('.map tbody tr:visible').count();
    await page.fill('#filter', 'btc');
    expect(await shown()).toBe(1);
    expect(await page.textContent('#filter-count')).toBe('1 of 3 shown');
    await page.fill('#filter', '');
    await page.check('#only-missing');
    expect(await page.locator('.map tbody tr:visible').first().textContent()).toContain('ETH/USDT');

    expect(await page.locator('section', { hasText: 'Archive runs' }).locator('td').count()).toBe(
      6,
    );
    expect(problems).toEqual([]);
  },
);

test.skipIf(!browserPath)(
  `page: is readable when dark, narrow or empty${browserNote}`,
  async () => {
    const { makeReport, file } = await setUp();
    await makeReport();
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, problems } = await openPage(file, { width: 360, height: 700 }, colorScheme);
      const width = await page.evaluate('document.documentElement.scrollWidth');
      expect(width).toBeLessThanOrEqual(360);
      for (const name of ['ink', 'soft', 'accent', 'missing']) {
        expect({ name, isReadable: (await contrast(page, name)) >= 4.5 }).toEqual({
          name,
          isReadable: true,
        });
      }
      expect(problems).toEqual([]);
    }

    const { run } = await startStore();
    const empty = join(await makeFolder(), 'empty.html');
    await run('report', '--output', empty);
    const { page, problems } = await openPage(empty, { width: 1100, height: 900 });
    expect(await page.textContent('.map tbody')).toBe('Nothing is stored yet.');
    expect(await page.isVisible('#chart')).toBe(false);
    expect(problems).toEqual([]);
  },
);

async function openPage(
  file: string,
  viewport: { width: number; height: number },
  colorScheme: 'light' | 'dark' = 'light',
) {
  const browser = await startBrowser();
  const context = await browser.newContext({ viewport, colorScheme, offline: true });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => problems.push(message.text()));
  page.on('request', (request) => {
    if (request.url() !== pathToFileURL(file).href) problems.push(request.url());
  });
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector('html[data-ready]', { state: 'attached' });
  return { page, problems };
}

/** The colours of some days of a strip on the canvas. */
async function colorsOf(page: Page, row: number, days: number[]): Promise<string[]> {
  return await page
    .locator('.map canvas')
    .nth(row)
    .evaluate(
      (canvas: never, [days, all]: [number[], number]) => {
        const { width, height, getContext } = canvas as {
          width: number;
          height: number;
          getContext: (kind: string) => { getImageData: (...at: number[]) => { data: number[] } };
        };
        const row = getContext.call(canvas, '2d').getImageData(0, height / 2, width, 1).data;
        return days.map((day) => {
          const at = Math.floor((day / all) * width) * 4;
          const pixel = row.slice(at, at + 3);
          const hex = [...pixel].map((part) => part.toString(16).padStart(2, '0'));
          return `#${hex.join('')}`;
        });
      },
      [days, DAYS] as [number[], number],
    );
}

/** The contrast between a colour and the background of the cards, as WCAG defines it. */
async function contrast(page: Page, name: string): Promise<number> {
  const [ink, card] = (await page.evaluate(
    `['${name}', 'card'].map((name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim())`,
  )) as [string, string];
  const [light, dark] = [luminance(ink), luminance(card)].sort((a, b) => b - a);
  return ((light ?? 0) + 0.05) / ((dark ?? 0) + 0.05);
}

function luminance(hex: string): number {
  const [red, green, blue] = [1, 3, 5]
    .map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * (red ?? 0) + 0.7152 * (green ?? 0) + 0.0722 * (blue ?? 0);
}
