import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import xterm from '@xterm/headless';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { showLine } from '../../lib/cli/terminal.ts';
import { type Screen, showScript, WHY_NO_SCREEN } from '../support/screen.ts';
import { runScript } from '../support/script.ts';
import { startStore } from '../support/store.ts';

const BAR = /[█░]/;
/** Requests this slow keep the bar on the screen until the test has seen it. */
const SLOW_MS = 400;

const showsBar = (screen: Screen) => screen.lines().some((line) => BAR.test(line));
const fetchWords = (...symbols: string[]) => [
  ...[...symbols, '--interval', '1m', '--source', 'rest'],
  ...['--since', '2024-02-01', '--until', '2024-02-11'],
];

async function setUp() {
  const { fake, database, env } = await startStore({ nowMs: Date.UTC(2024, 2, 1) });
  const fetch = async () =>
    expect(await runScript('fetch-history', fetchWords('BTC/USDT'), env)).toMatchObject({
      exitCode: EXIT.done,
    });
  /** Shows a script until its bar is there, and lets the exchange be quick from then on. */
  const showBar = async (
    name: string,
    words: string[],
    options: Parameters<typeof showScript>[2],
  ) => {
    fake.latencyMs = SLOW_MS;
    const screen = await showScript(name, words, options);
    await screen.until(showsBar);
    return {
      screen,
      goOn: () => {
        fake.latencyMs = 0;
      },
    };
  };
  return { fake, database, env, fetch, showBar };
}

/** Nothing of the bar is left, nothing was wrapped, the cursor waits below the last line. */
function expectTidy(screen: Screen, { isCut = false } = {}): void {
  expect(screen.lines().filter((line) => BAR.test(line))).toEqual([]);
  expect(screen.wrapped(), screen.lines().join('\n')).toBe(0);
  if (!isCut) expect(screen.cursor()).toEqual({ row: screen.lines().length, column: 0 });
  // The cursor was neither hidden nor saved: nobody has to restore it after a crash.
  for (const trick of ['7', '8', '[s', '[u', '[?25l'])
    expect(screen.bytes()).not.toContain(`\u001b${trick}`);
}

describe.skipIf(WHY_NO_SCREEN !== '')(`On a terminal${WHY_NO_SCREEN}`, () => {
  test.each([
    { columns: 80, rows: 24 },
    { columns: 40, rows: 10 },
  ])('fetch: prints its result where the bar was, at $columns × $rows', async (size) => {
    const { env, showBar } = await setUp();
    const { screen, goOn } = await showBar('fetch-history', fetchWords('BTC/USDT'), {
      env,
      ...size,
    });
    expect(screen.cursor().column).toBe(0);
    expect(screen.lines()).toHaveLength(1);
    goOn();
    expect(await screen.ended).toBe(EXIT.done);
    expect(screen.lines().join('')).toBe('BTC/USDT 1m: +14,400 candles, 2024-02-01 to 2024-02-11');
    if (size.columns > 60) expectTidy(screen);
  });

  test('fetch: keeps warnings above the bar, and a wide symbol on one line', async () => {
    const { fake, env, showBar } = await setUp();
    fake.faults.add({ kind: 503, times: 3 });
    const { screen, goOn } = await showBar('fetch-history', fetchWords('币安人生/USDT'), {
      env: { ...env, NO_COLOR: '1' },
      columns: 130,
    });
    await screen.until(() => screen.lines().some((line) => BAR.test(line) && line.includes('币')));
    goOn();
    expect(await screen.ended).toBe(EXIT.done);
    const lines = screen.lines();
    expect(lines.slice(0, 3)).toEqual(
      Array(3).fill(
        expect.stringMatching(/^warning: Binance is overloaded .+Trying again in .+ s$/),
      ),
    );
    expect(lines[3]).toBe('币安人生/USDT 1m: +14,400 candles, 2024-02-01 to 2024-02-11');
    expect(lines).toHaveLength(4);
    expect(screen.bytes()).not.toContain('\u001b[33m');
    expectTidy(screen);
  });

  test('fetch: leaves nothing of the bar when the window changes', async () => {
    const { env, showBar } = await setUp();
    const { screen, goOn } = await showBar('fetch-history', fetchWords('BTC/USDT'), { env });
    await screen.resize(34, 24);
    const seen = screen.bytes().length;
    await screen.until(() => BAR.test(screen.bytes().slice(seen)));
    await screen.resize(100, 30);
    goOn();
    expect(await screen.ended).toBe(EXIT.done);
    expect(screen.lines()).toEqual(['BTC/USDT 1m: +14,400 candles, 2024-02-01 to 2024-02-11']);
    expectTidy(screen);
  });

  test('update, archive, verify: print all their lines', async () => {
    const { fake, env, fetch } = await setUp();
    await fetch();
    fake.nowMs = Date.UTC(2024, 2, 1, 1);
    const updated = await showScript('update-klines', [], { env });
    expect(await updated.ended).toBe(EXIT.done);
    expect(updated.lines().at(-1)).toMatch(/^1 series up to date: \+[\d,]+ candles, 0 corrected$/);
    expectTidy(updated);

    const archived = await showScript('archive', ['1', '--as-of', '2024-02-10'], { env });
    expect(await archived.ended).toBe(EXIT.done);
    expect(archived.lines()).toEqual([
      'BTC/USDT: 11,520 candles moved to btc_usdt_archive',
      '11,520 candles older than 2024-02-09 moved',
    ]);
    expectTidy(archived);

    const verified = await showScript('verify-integrity', ['--to', '2024-02-20'], { env });
    expect(await verified.ended).toBe(EXIT.done);
    expect(verified.lines().at(-1)).toMatch(/^1 series, [\d,]+ candles: /);
    expectTidy(verified);
  });

  test('Ctrl-C: says where it stopped, and leaves nothing of the bar', async () => {
    const { env, showBar } = await setUp();
    const { screen, goOn } = await showBar('fetch-history', fetchWords('BTC/USDT'), { env });
    await screen.until(() => screen.lines().some((line) => line.includes('· BTC/USDT')));
    screen.type('\u0003');
    goOn();
    expect(await screen.ended).toBe(130);
    expect(screen.lines()).toEqual([
      expect.stringMatching(/^(\^C)?warning: SIGINT: stopping at the next safe point/),
      expect.stringMatching(/^fetch: stopped at BTC\/USDT 1m 2024-02-/),
      '  Committed data stays; the next run continues from there.',
    ]);
    expectTidy(screen);
  });

  test('Ctrl-C twice: ends at once, and leaves nothing of the bar', async () => {
    const { database, env, showBar } = await setUp();
    const { screen } = await showBar('fetch-history', fetchWords('BTC/USDT'), { env });
    await database.sql.begin(async (sql) => {
      // The first Ctrl-C ends the download; then the script waits for this lock, to note its end.
      await sql`lock table runs in access exclusive mode`;
      screen.type('\u0003');
      await screen.until(() =>
        screen.lines().some((line) => line.includes('Committed data stays')),
      );
      screen.type('\u0003');
      expect(await screen.ended).toBe(130);
    });
    const lines = screen.lines().filter((line) => line !== '^C');
    expect(lines).toEqual([
      expect.stringContaining('(send it again to stop at once)'),
      expect.stringMatching(/^fetch: stopped /),
      '  Committed data stays; the next run continues from there.',
    ]);
    // The terminal itself prints the ^C, and ends no line after it.
    expectTidy(screen, { isCut: true });
  });

  test('an uncaught error: is printed whole, below it the prompt', async () => {
    const { env } = await setUp();
    const screen = await showScript('../tests/support/crashing-script', [], {
      env,
      columns: 250,
    });
    expect(await screen.ended).toBe(EXIT.failed);
    expect(screen.lines()[0]).toBe('Error: uncaught on purpose');
    expectTidy(screen);
  });

  test('stdout in a pipe: the bar is gone before the reader prints', async () => {
    const { env, showBar } = await setUp();
    const { screen, goOn } = await showBar('fetch-history', fetchWords('BTC/USDT'), {
      env,
      shell: '"$@" | cat',
    });
    goOn();
    expect(await screen.ended).toBe(EXIT.done);
    expect(screen.lines()).toEqual(['BTC/USDT 1m: +14,400 candles, 2024-02-01 to 2024-02-11']);
    expectTidy(screen);
  });

  test('stderr in a file: no bar anywhere', async () => {
    const { env } = await setUp();
    const folder = await mkdtemp(join(tmpdir(), 'klinekeep-screen-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const log = join(folder, 'log');
    const screen = await showScript('fetch-history', fetchWords('BTC/USDT'), {
      env: { ...env, LOG: log },
      shell: '"$@" 2>"$LOG"',
    });
    expect(await screen.ended).toBe(EXIT.done);
    expect(screen.bytes()).not.toContain('\u001b');
    expect(screen.lines()).toHaveLength(1);
    expect(await readFile(log, 'utf8')).not.toMatch(BAR);
  });

  test('TERM=dumb: gets plain lines', async () => {
    const { fake, env } = await setUp();
    fake.faults.add({ kind: 503 });
    const screen = await showScript('fetch-history', fetchWords('BTC/USDT'), {
      env: { ...env, TERM: 'dumb' },
      columns: 130,
    });
    expect(await screen.ended).toBe(EXIT.done);
    expect(screen.bytes()).not.toContain('\u001b');
    expect(screen.lines()[0]).toMatch(/^warning: /);
    expect(screen.lines().at(-1)).toBe('BTC/USDT 1m: +14,400 candles, 2024-02-01 to 2024-02-11');
  });

  test('npm start: each step keeps its result', async () => {
    const home = await mkdtemp(join(tmpdir(), 'klinekeep-screen-'));
    await chmod(home, 0o711);
    const env = { KLINES_HOME: home, DATABASE_URL: '' };
    onTestFinished(async () => {
      await runScript('db', ['stop'], env);
      await rm(home, { recursive: true, force: true });
    });
    const screen = await showScript('demo', [], { env });
    expect(await screen.ended).toBe(EXIT.done);
    const text = screen.lines().join('\n');
    for (const result of [
      /just sync .+\nspot: 8 registered/,
      /400d\nBTC\/USDT 1h: \+9,60[01] candles, .+\n\n/,
      // The minute may end between the script's clock and the exchange's.
      /7d\nBTC\/USDT 1m: \+10,08[01] candles, .+\nETH\/USDT 1m: \+10,08[01] candles, .+\n\n/,
      /update\n([^$]+\n)?3 series up to date: .+\n\n/,
      /365\nBTC\/USDT: [\d,]+ candles moved to btc_usdt_archive\n.+ moved\n\n/,
      /verify\n3 series, 29,.+\n\nsymbol {4}/,
    ])
      expect(text).toMatch(result);
    expectTidy(screen);
  }, 240_000);
});

test('showLine(): leaves nothing on a window narrower than it knows of', async () => {
  const terminal = new xterm.Terminal({ cols: 34, rows: 5, allowProposedApi: true });
  const print = (text: string) => new Promise<void>((settle) => terminal.write(text, settle));
  let printed = Promise.resolve();
  let count = 0;
  const stderr = {
    columns: 80,
    isTTY: true,
    write: (text: string) => {
      count += 1;
      printed = print(text);
      return true;
    },
    on: () => {},
    off: () => {},
  } as unknown as NodeJS.WriteStream;
  const stop = showLine({ stderr, stdout: new PassThrough() }, () => 'x'.repeat(70));
  while (count < 2) await sleep(20);
  stop();
  await printed;
  const rows = Array.from({ length: 5 }, (_, row) =>
    terminal.buffer.active.getLine(row)?.translateToString(true),
  );
  expect(rows).toEqual(['', '', '', '', '']);
});
