import { expect, test } from 'vitest';
import { cutoffMs } from '../../lib/archive/plan.ts';
import { formatDuration, formatShort, formatTime, parseInstant } from '../../lib/base/time.ts';

const NOW = Date.parse('2024-03-10T12:34:56.789Z');

test.each([
  ['2023-03-24', '2023-03-24T00:00:00.000Z'],
  ['2023-03', '2023-03-01T00:00:00.000Z'],
  ['2023-03-24T12:40', '2023-03-24T12:40:00.000Z'],
  ['2023-03-24 12:40:01', '2023-03-24T12:40:01.000Z'],
  ['2023-03-24T12:40:01.5Z', '2023-03-24T12:40:01.500Z'],
  ['2023-03-24T12:40+02:00', '2023-03-24T10:40:00.000Z'],
  ['2023-03-24T12:40-0500', '2023-03-24T17:40:00.000Z'],
  ['now', '2024-03-10T12:34:56.789Z'],
  ['90m', '2024-03-10T11:04:56.789Z'],
  ['400d', '2023-02-04T12:34:56.789Z'],
  ['1mo', '2024-02-10T12:34:56.789Z'],
  ['5y', '2019-03-10T12:34:56.789Z'],
])('parseInstant(): reads %s as %s in any time zone', (text, expected) => {
  expect(new Date(parseInstant(text, NOW)!).toISOString()).toBe(expected);
});

test.each([
  '',
  'yesterday',
  '2023',
  '2023-02-30',
  '2023-13-01',
  '2023-03-24T25:00',
  '24.03.2023',
  '1e9d',
  '-5d',
  '5 y',
  '1700000000000',
])('parseInstant(): rejects %j', (text) => {
  expect(parseInstant(text, NOW)).toBeUndefined();
});

test('cutoffMs(): returns a UTC midnight a whole number of days back', () => {
  expect(new Date(cutoffMs(NOW, 30)).toISOString()).toBe('2024-02-09T00:00:00.000Z');
});

test('formatTime(), formatShort(), formatDuration(): are short', () => {
  expect(formatTime(NOW)).toBe('2024-03-10T12:34:56.789Z');
  expect(formatTime(Date.parse('2024-03-10'))).toBe('2024-03-10T00:00:00Z');
  expect(formatShort(Date.parse('2024-03-10'))).toBe('2024-03-10');
  expect(formatShort(NOW)).toBe('2024-03-10 12:34');
  expect([900, 65_000, 3_660_000, 90_000_000].map(formatDuration)).toEqual([
    '1s',
    '1m 05s',
    '1h 01m',
    '1d 01h',
  ]);
});
