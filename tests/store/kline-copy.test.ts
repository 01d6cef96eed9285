import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Instrument } from '../../lib/market/instrument.ts';
import { readKlines, whyRejected } from '../../lib/market/kline.ts';
import type { TimeRange } from '../../lib/market/ranges.ts';
import { copyIn } from '../../lib/postgres/copy.ts';
import { runSql } from '../../lib/postgres/sql-file.ts';
import { COPY_COLUMNS, KlineEncoder } from '../../lib/store/kline-copy.ts';
import { freshDatabase } from '../support/database.ts';

const OPEN = Date.UTC(2023, 2, 24, 12, 39);
const ASKED = { fromMs: OPEN, toMs: OPEN + 60_000 };
const LATER = OPEN + 86_400_000;
const GOOD = `${OPEN},27001.5,27010.00000001,0.00000001,718239113,0.1,${OPEN + 41_646},12345678901234567890.12345678,2147483647,-5.5,0,ignored`;

const replaced = (field: number, value: string) => GOOD.split(',').with(field, value).join(',');
const SERIES = { instrument: { id: 7 } as Instrument, interval: '1m' } as const;
/** Encodes all of it. */
function encodeKlines(text: string, asked: TimeRange, askedAtMs: number) {
  const page = { csv: Buffer.from(text), asked, askedAtMs, source: 'rest' };
  const encoder = new KlineEncoder(SERIES, page);
  const chunks = [...encoder.chunks()];
  return { count: encoder.count, rejected: encoder.rejected, chunks };
}

const encode = (...lines: string[]) => encodeKlines(lines.join('\n'), ASKED, LATER);

test('KlineEncoder: PostgreSQL stores every digit and millisecond', async () => {
  const session = (await freshDatabase()).openSession();
  const decimal = fc
    .tuple(
      fc.bigInt({ min: 0n, max: 10n ** 20n - 1n }),
      fc.nat(99_999_999),
      fc.nat(8),
      fc.boolean(),
    )
    .map(([whole, fraction, places, negative]) => {
      const digits = String(fraction).padStart(8, '0').slice(0, places);
      return `${negative ? '-' : ''}${whole}${places > 0 ? `.${digits}` : ''}`;
    });
  const positive = decimal
    .map((text) => text.replace('-', ''))
    .filter((text) => /[1-9]/.test(text));
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(positive, positive, positive, positive),
      fc.tuple(decimal, decimal, decimal, decimal),
      fc.nat(2_147_483_647),
      fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2060, 0, 1) }),
      async ([o, h, l, c], [v, qv, tv, tqv], trades, openMs) => {
        const line = [openMs, o, h, l, c, v, openMs + 59_999, qv, trades, tv, tqv, 0].join(',');
        const encoded = encodeKlines(line, { fromMs: 0, toMs: 1e14 }, 1e14);
        expect(encoded).toMatchObject({ count: 1, rejected: [] });
        await runSql(session, 'store/create_staging.sql');
        await copyIn(
          session,
          `copy staged_klines ${COPY_COLUMNS} from stdin (format binary)`,
          encoded.chunks,
        );
        const [row] = await session`
          select
            (extract(epoch from open_time) * 1000)::bigint = ${openMs}::bigint
            and (extract(epoch from close_time) * 1000)::bigint = ${openMs + 59_999}::bigint
            and (open_price, high_price, low_price, close_price) = (${o}::numeric, ${h}::numeric, ${l}::numeric, ${c}::numeric)
            and (volume, quote_volume) = (${v}::numeric, ${qv}::numeric)
            and (taker_buy_volume, taker_buy_quote_volume) = (${tv}::numeric, ${tqv}::numeric)
            and trades_count = ${trades} as is_equal
          from staged_klines`;
        expect(row?.is_equal).toBe(true);
      },
    ),
    { numRuns: 60 },
  );
});

test('KlineEncoder: rejects exactly the lines that whyRejected() explains', () => {
  const piece = fc.constantFrom(
    ...[
      '',
      '0',
      '1',
      '-1',
      '1.5',
      '0.00000000',
      '1.123456789',
      '1e5',
      '1.',
      '.5',
      'abc',
      ' 1',
      '1 ',
      '--1',
      '1.2.3',
    ],
    ...[
      '9'.repeat(20),
      '9'.repeat(21),
      '0'.repeat(20),
      String(OPEN),
      `${OPEN}000`,
      '2147483648',
      '000002147483647',
      '00000002147483647',
      '9'.repeat(17),
      '+1',
      'NaN',
      '"1"',
    ],
  );
  fc.assert(
    fc.property(
      fc.nat(11),
      piece,
      fc.option(fc.tuple(fc.nat(11), piece)),
      (field, value, second) => {
        let fields = GOOD.split(',').with(field, value);
        if (second) fields = fields.with(second[0], second[1]);
        const { count, rejected } = encode(fields.join(','));
        const reason = whyRejected(fields.join(',').split(','), ASKED, '1m');
        const closeMs = Number(fields[6]) >= 1e14 ? Number(fields[6]) / 1000 : Number(fields[6]);
        if (reason === undefined)
          expect({ count, rejected }).toEqual({ count: closeMs < LATER ? 1 : 0, rejected: [] });
        else expect(rejected).toEqual([{ raw: fields.join(','), reason }]);
      },
    ),
    { numRuns: 2000 },
  );
});

test('KlineEncoder: drops candles that have not closed yet', () => {
  expect(encodeKlines(GOOD, ASKED, OPEN + 41_646)).toMatchObject({ count: 0, rejected: [] });
  expect(encodeKlines(GOOD, ASKED, OPEN + 41_647)).toMatchObject({ count: 1, rejected: [] });
});

test('KlineEncoder: truncates microseconds, row by row', async () => {
  const session = (await freshDatabase()).openSession();
  const micros = replaced(0, `${OPEN}000`).replace(`${OPEN + 41_646}`, `${OPEN + 59_999}999`);
  await runSql(session, 'store/create_staging.sql');
  const { chunks } = encode(micros, GOOD);
  await copyIn(session, `copy staged_klines ${COPY_COLUMNS} from stdin (format binary)`, chunks);
  const rows = await session`select open_time, close_time from staged_klines order by close_time`;
  expect(rows).toEqual([
    { open_time: new Date(OPEN), close_time: new Date(OPEN + 41_646) },
    { open_time: new Date(OPEN), close_time: new Date(OPEN + 59_999) },
  ]);
});

test('KlineEncoder: rejects an impossible close time', () => {
  for (const closeMs of [0, OPEN - 1, OPEN + 120_001, 4_000_000_000_000]) {
    const line = GOOD.replace(`${OPEN + 41_646}`, `${closeMs}`);
    expect(encode(line)).toMatchObject({
      count: 0,
      rejected: [{ raw: line, reason: expect.stringContaining('close_time') }],
    });
  }
});

test('KlineEncoder: reads all line endings, and a last line without one', () => {
  expect(encodeKlines(`${GOOD}\r\n${GOOD}\r\n\r\n`, ASKED, LATER)).toMatchObject({
    count: 2,
    rejected: [],
  });
  expect(encode(GOOD, GOOD)).toMatchObject({ count: 2, rejected: [] });
  expect(encode('')).toMatchObject({ count: 0, rejected: [] });
});

test('readKlines(): keeps and rejects the same lines as KlineEncoder', () => {
  const field = fc.constantFrom('0', '1', '-1.5', '27001.50000001', '1.123456789', 'x', '', '1e3');
  const time = fc.constantFrom(OPEN, OPEN * 1000, OPEN + 59_999, OPEN + 60_000, LATER, 'x');
  const line = fc
    .tuple(time, field, field, field, field, field, time, field, field, field, field, field)
    .map((fields) => fields.join(','));
  fc.assert(
    fc.property(fc.array(fc.oneof(line, fc.constant(GOOD)), { maxLength: 5 }), (lines) => {
      const csv = Buffer.from(lines.join('\n'));
      const many = encodeKlines(csv.toString(), ASKED, LATER);
      const few = readKlines(csv, { interval: '1m', asked: ASKED, askedAtMs: LATER });
      expect([few.candles.length, few.rejected]).toEqual([many.count, many.rejected.length]);
    }),
  );
});
