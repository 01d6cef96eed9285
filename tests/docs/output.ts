/** Compares documented output with what a command printed, and brings documents up to date. */

/** Stands for lines that a document leaves out; at the end of a line for the rest of it. */
const LEFT_OUT = '…';

/** What differs from run to run. The spaces around it do, too: columns are as wide as their cells. */
const VARIES: readonly (readonly [RegExp, string])[] = [
  [/\b\d+(\.\d+)? ?(ms|s)\b/g, 'DURATION'],
  [/\b\d+(\.\d+)? ?[kMG]?B\b/g, 'SIZE'],
  [/127\.0\.0\.1:\d+/g, 'ADDRESS'],
  [/process \d+/g, 'PROCESS'],
  [/PostgreSQL \d+(\.\d+)?/g, 'VERSION'],
  [/:[^:@/\s]+@/g, ':PASSWORD@'],
  [/\b[\w-]+@[\w.-]+/g, 'WHO'],
  [/[─-]{3,}/g, 'RULE'],
  [/\s+/g, ' '],
];

function mask(line: string): string {
  return VARIES.reduce((text, [what, name]) => text.replaceAll(what, name), line).trim();
}

function isSame(documented: string, printed: string): boolean {
  if (!documented.endsWith(LEFT_OUT)) return mask(documented) === mask(printed);
  return mask(printed).startsWith(mask(documented.slice(0, -LEFT_OUT.length)));
}

/**
 * The printed lines as the document should show them: a documented line stays when it differs only
 * in what varies, and what the document leaves out stays left out.
 */
export function bringUpToDate(documented: readonly string[], printed: readonly string[]): string[] {
  const at = documented.indexOf(LEFT_OUT);
  if (at < 0) return printed.map((line, index) => keepIfSame(documented[index], line));
  const [head, tail] = [documented.slice(0, at), documented.slice(at + 1)];
  const end = Math.max(head.length, printed.length - tail.length);
  return [
    ...printed.slice(0, head.length).map((line, index) => keepIfSame(head[index], line)),
    LEFT_OUT,
    ...printed.slice(end).map((line, index) => keepIfSame(tail[index], line)),
  ];
}

function keepIfSame(documented: string | undefined, printed: string): string {
  if (documented === undefined) return printed;
  if (isSame(documented, printed)) return documented;
  if (documented === LEFT_OUT || !documented.endsWith(LEFT_OUT)) return printed;
  return `${printed.slice(0, documented.length - 1)}${LEFT_OUT}`;
}
