import stringWidth from 'string-width';

const GAP = 2;
const NARROWEST = 6;

/**
 * Formats rows as columns with two spaces between: numbers are aligned right, text left.
 * @param options.right indexes of columns whose text is aligned right
 * @param options.maxWidth longest line; the widest column of text is cut to fit, and marked with …
 */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  options: { right?: readonly number[]; maxWidth?: number } = {},
): string {
  const lines = [head, ...rows.map((row) => row.map(formatCell))];
  const widths = head.map((_, column) => highest(lines, (line) => stringWidth(line[column] ?? '')));
  const isRight = head.map(
    (_, column) =>
      options.right?.includes(column) ||
      (rows.length > 0 && rows.every((row) => typeof row[column] === 'number')),
  );
  const width = widths.reduce((sum, each) => sum + each, GAP * (head.length - 1));
  const surplus = width - (options.maxWidth ?? Number.POSITIVE_INFINITY);
  if (surplus > 0) {
    const widest = Math.max(...widths.filter((_, column) => !isRight[column]));
    widths[widths.indexOf(widest)] = Math.max(NARROWEST, widest - surplus);
  }
  return lines
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column]!;
          const fitted = truncate(cell, width);
          const padding = ' '.repeat(width - stringWidth(fitted));
          return isRight[column] ? `${padding}${fitted}` : `${fitted}${padding}`;
        })
        .join(' '.repeat(GAP))
        .trimEnd(),
    )
    .join('\n');
}

/** Cuts text to a width in terminal columns, of which 币 takes two, and marks the cut with …. */
export function truncate(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = '';
  for (const character of text) {
    if (stringWidth(kept + character) > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

/** The maximum, 0 for no items. Math.max(...numbers) throws from about 120,000 numbers on. */
function highest<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((most, item) => Math.max(most, pick(item)), 0);
}

function formatCell(cell: string | number): string {
  return typeof cell === 'number' ? formatCount(cell) : cell;
}

/** `1,234,567` */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `12.3 MB` */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** `526k`, `1.2M`: at most three digits, for narrow columns. */
export function formatRough(count: number): string {
  const units = ['', 'k', 'M', 'G'];
  let [value, power] = [count, 0];
  while (value >= 999.5 && power < units.length - 1) [value, power] = [value / 1000, power + 1];
  const text = value.toFixed(value < 9.95 && power > 0 ? 1 : 0);
  return `${text}${units[power]}`;
}

/** Aligns exact decimals at their points, and replaces trailing zeros with spaces. */
export function alignDecimals(
  head: string,
  values: readonly string[],
): { head: string; cells: string[] } {
  const split = values.map((value) => {
    const [whole = '', fraction = ''] = value.split('.');
    const kept = fraction.replace(/0+$/, '');
    return [whole, kept === '' ? '' : `.${kept}`] as const;
  });
  const before = highest(split, ([whole]) => whole.length);
  const after = highest(split, ([, fraction]) => fraction.length);
  return {
    head: head.padStart(before + after),
    cells: split.map(([whole, fraction]) => whole.padStart(before) + fraction.padEnd(after)),
  };
}
