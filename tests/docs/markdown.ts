/** The fenced blocks of a Markdown file. */
export interface Block {
  /** Line of the opening fence, from 0. */
  line: number;
  /** First word behind the fence, such as `console` or `sql`. */
  language: string;
  /** Marked `no-run`: shown to readers, not run by the tests. */
  isRun: boolean;
  /** Spaces in front of the fence: blocks may stand in a list. */
  indent: number;
  /** Without the indent. */
  lines: string[];
}

/** @throws when a fence is not closed */
export function parseBlocks(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for (const [line, text] of markdown.split('\n').entries()) {
    const [, spaces = '', info] = /^( *)```(.*)$/.exec(text) ?? [];
    if (info === undefined) open?.lines.push(text.slice(open.indent));
    else if (open === undefined) {
      const [language = '', ...marks] = info.trim().split(/\s+/);
      open = { line, language, isRun: !marks.includes('no-run'), indent: spaces.length, lines: [] };
    } else {
      blocks.push(open);
      open = undefined;
    }
  }
  if (open) throw new Error(`The block of line ${open.line + 1} is not closed.`);
  return blocks;
}

/** The Markdown with other lines in some of its blocks. */
export function replaceBlocks(
  markdown: string,
  replacements: ReadonlyMap<Block, readonly string[]>,
): string {
  const lines = markdown.split('\n');
  const lastFirst = [...replacements].sort(([a], [b]) => b.line - a.line);
  for (const [{ line, indent, lines: old }, fresh] of lastFirst) {
    const indented = fresh.map((text) => (text === '' ? '' : ' '.repeat(indent) + text));
    lines.splice(line + 1, old.length, ...indented);
  }
  return lines.join('\n');
}

/** A command of a `console` block and what it prints. */
export interface Step {
  /** Without the prompt; continued lines are joined. */
  command: string;
  /** As written, prompt included. */
  commandLines: string[];
  /** Without the blank line in front of the next command. */
  output: string[];
}

/** @throws when the block does not begin with a prompt */
export function parseSteps(lines: readonly string[]): Step[] {
  const steps: Step[] = [];
  let isContinued = false;
  for (const line of lines) {
    const step = steps.at(-1);
    if (isContinued && step) {
      step.commandLines.push(line);
      step.command += ` ${line.replace(/\\$/, '').trim()}`;
      isContinued = line.endsWith('\\');
    } else if (line.startsWith('$ ')) {
      isContinued = line.endsWith('\\');
      const command = line.slice(2).replace(/\\$/, '').trim();
      steps.push({ command, commandLines: [line], output: [] });
    } else if (step) step.output.push(line);
    else throw new Error(`A console block begins with "$ ", not with ${JSON.stringify(line)}.`);
  }
  for (const { output } of steps) while (output.at(-1) === '') output.pop();
  return steps;
}

/** Splits a command as a shell does, quotes included. */
export function splitWords(command: string): string[] {
  const parts = command.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  return parts.map((part) => part.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
}
