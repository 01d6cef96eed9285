import { formatCount, formatShort } from '../lib/base/mod.ts';
import type { Adopted, AdoptOptions } from './_adopt.ts';

export function formatAdopted({ interval, dryRun }: AdoptOptions, adopted: Adopted): string {
  const { instrument, table, counts, compared } = adopted;
  const { rows, equal, different, duplicates, rejected, forming, firstDifferentMs } = counts;
  const lines = [
    `${instrument.symbol} ${interval}: ${formatCount(rows)} rows read, ` +
      (dryRun
        ? `${formatCount(counts.missing)} candles would be added`
        : `${formatCount(counts.inserted)} candles added`),
  ];
  if (equal > 0) lines.push(`${formatCount(equal)} were stored already`);
  if (firstDifferentMs !== undefined)
    lines.push(
      `${formatCount(different)} DIFFER from what is stored, which stays, ` +
        `the first at ${formatShort(firstDifferentMs)}`,
    );
  if (duplicates > 0)
    lines.push(`${formatCount(duplicates)} rows repeat a time; the latest counts`);
  if (rejected > 0) {
    const where = dryRun ? '' : ' (see rejected_klines)';
    lines.push(`${formatCount(rejected)} rejected${where}: ${counts.reasons[0]}`);
  }
  if (forming > 0) lines.push(`${formatCount(forming)} have not closed yet and are left out`);
  if (compared)
    lines.push(
      `Read again and compared: ${formatCount(compared.equal)} equal, ` +
        `${formatCount(compared.different)} different. The old table is ${table.quoted}.`,
    );
  return lines.join('\n');
}
