import { formatCount, formatShort } from '../lib/base/mod.ts';
import type { Adopted, AdoptOptions } from './_adopt.ts';
import { formatCounts } from './_text.ts';

export function formatAdopted({ interval, dryRun }: AdoptOptions, adopted: Adopted): string {
  const { instrument, table, counts, compared } = adopted;
  const { rows, missing, inserted, firstDifferentMs = 0 } = counts;
  const added = dryRun
    ? `${formatCount(missing)} candles would be added`
    : `${formatCount(inserted)} candles added`;
  const where = dryRun ? '' : ' (see rejected_klines)';
  const firstDifferent = formatShort(firstDifferentMs);
  const lines = [
    `${instrument.symbol} ${interval}: ${formatCount(rows)} rows read, ${added}`,
    ...formatCounts([
      [counts.equal, 'were stored already'],
      [
        counts.different,
        `DIFFER from the stored candles, which were kept; the first is at ${firstDifferent}`,
      ],
      [counts.duplicates, 'rows have the same open time as another row; the latest row counts'],
      [counts.rejected, `rejected${where}: ${counts.reasons[0]}`],
      [counts.forming, 'have not closed yet and are left out'],
    ]),
  ];
  if (compared) {
    lines.push(
      `Read again and compared: ${formatCount(compared.equal)} equal, ` +
        `${formatCount(compared.different)} different. The old table is ${table.quoted}.`,
    );
  }
  return lines.join('\n');
}
