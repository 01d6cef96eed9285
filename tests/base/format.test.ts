import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { alignDecimals, formatTable, truncate } from '../../lib/base/format.ts';

/** More than a call takes arguments: Math.max(...values) ends in a RangeError. */
const MANY = 140_000;

test('formatTable(): formats more rows than a call takes arguments', () => {
  const prices = Array.from({ length: MANY }, (_, index) => `${index}.50`);
  const { head, cells } = alignDecimals('price', prices);
  const lines = formatTable(
    ['row', head],
    cells.map((cell, index) => [index, cell]),
  ).split('\n');
  expect(lines).toHaveLength(MANY + 1);
  expect(lines[0]).toBe('    row     price');
  expect(lines.at(-1)).toBe('139,999  139999.5');
});

test('formatTable(): aligns columns beside symbols that are two columns wide', () => {
  const rows = [
    ['币安人生/USDT', '1m', 'x'],
    ['BTC/USDT', '1h', 'x'],
  ];
  const at = (line: string) => stringWidth(line.slice(0, line.indexOf('x')));
  const [, ...lines] = formatTable(['symbol', 'int', 'end'], rows).split('\n');
  expect(lines.map(at)).toEqual([20, 20]);
  const narrow = formatTable(['symbol', 'int', 'end'], rows, { maxWidth: 18 }).split('\n');
  expect(Math.max(...narrow.map((line) => stringWidth(line)))).toBeLessThanOrEqual(18);
});

test.each([
  ['BTC/USDT', 8, 'BTC/USDT'],
  ['BTC/USDT', 7, 'BTC/US…'],
  ['币安人生', 8, '币安人生'],
  ['币安人生', 6, '币安…'],
  ['币安人生', 1, '…'],
])('truncate(): cuts %s to %i columns', (text, width, cut) => {
  expect(truncate(text, width)).toBe(cut);
});
