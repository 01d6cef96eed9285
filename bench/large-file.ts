/**
 * A month of 1s from one bulk file (2.7 million rows, about 110 MB zipped), which is streamed, beside
 * months of 1m, which are kept in memory: seconds, candles per second and the highest memory of each process.
 *
 *     just bench large-file
 *
 * Compare only the ratio of one run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { addMonths, formatCount, formatTable, toUtc } from '../lib/base/mod.ts';
import { publish } from '../tests/support/fake-binance/bulk.ts';
import { startFakeBinance } from '../tests/support/fake-binance/server.ts';
import { makeZip } from '../tests/support/fake-binance/zip.ts';
import { formatSeconds, print, time, toCommand, withServer } from './support.ts';

const FROM_MS = Date.UTC(2023, 0, 1);
const SECOND_ROWS = 31 * 86_400;

/** A month of seconds with random digits, so that its zip is as large as Binance's. */
function makeSeconds(): Buffer {
  const digits = () => String(Math.floor(Math.random() * 1e8)).padStart(8, '0');
  const pieces: Buffer[] = [];
  for (let at = 0; at < SECOND_ROWS; at += 10_000) {
    let text = '';
    for (let row = at; row < Math.min(at + 10_000, SECOND_ROWS); row++) {
      const openMs = FROM_MS + row * 1000;
      const [price, cents] = [27_000 + (row % 900), digits().slice(0, 2)];
      text +=
        `${openMs},${price}.${cents}000000,${price}.99000000,${price}.00000000,${price}.${cents}000000,` +
        `1.${digits()},${openMs + 999},27000.${digits()},${row % 90},0.${digits()},900.${digits()},0\n`;
    }
    pieces.push(Buffer.from(text));
  }
  return Buffer.concat(pieces);
}

await withServer(async ({ url, sql }) => {
  const fake = await startFakeBinance({ nowMs: Date.UTC(2024, 5, 1) });
  try {
    const name = 'BTCUSDT-1s-2023-01';
    const zip = makeZip([{ name: `${name}.csv`, content: makeSeconds() }]);
    fake.bulk.put(`spot/monthly/klines/BTCUSDT/1s/${name}.zip`, zip);
    for (let month = 1; month <= 12; month++)
      await publish(fake, `2023-${String(month).padStart(2, '0')}`, { interval: '1m' });
    const env = { ...fake.env, DATABASE_URL: url };
    const load = async (interval: string, months: number) => {
      const until = addMonths(toUtc(FROM_MS), months).toISOString();
      const words = ['BTC/USDT', '--interval', interval, '--since', '2023-01-01', '--until', until];
      const command = toCommand(
        'scripts/fetch-history.ts',
        ...words,
        '--source',
        'bulk',
        '--quiet',
      );
      let memory = 0;
      const ms = await time(async () => {
        memory = await runMeasured(command, env);
      });
      const [stored] =
        await sql`select count(*)::int as rows from klines where interval = ${interval}`;
      return { name: `${months} x ${interval}`, ms, memory, rows: stored?.rows as number };
    };
    const runs = [await load('1m', 12), await load('1s', 1)];
    if (runs[1]?.rows !== SECOND_ROWS)
      throw new Error(`Stored ${runs[1]?.rows} rows, wanted ${SECOND_ROWS}.`);
    const megabytes = (bytes: number) => Math.round(bytes / 1024 / 1024);
    print(
      formatTable(
        ['months', 'candles', 'seconds', 'candles/s', 'highest memory (MB)'],
        runs.map(({ name, ms, memory, rows }) => [
          name,
          formatCount(rows),
          formatSeconds(ms),
          formatCount(Math.round(rows / (ms / 1000))),
          megabytes(memory),
        ]),
      ),
    );
    print(`\nThe file of 1s has ${megabytes(zip.length)} MB.`);
  } finally {
    await fake.close();
  }
});

/** Runs a program. @returns the highest resident memory, in bytes, as Linux counts it */
async function runMeasured(
  [program, words]: readonly [string, readonly string[]],
  env: Record<string, string>,
): Promise<number> {
  const child = spawn(program, words, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  let highest = 0;
  const timer = setInterval(() => {
    if (child.exitCode !== null) return;
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    highest = Math.max(highest, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
  }, 100);
  const [code] = await once(child, 'exit');
  clearInterval(timer);
  if (code !== 0) throw new Error(`${program} exited with ${code}: ${words.join(' ')}`);
  return highest;
}
