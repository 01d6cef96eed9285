/** Escapes text for HTML, in quoted attributes too. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export interface Column<Row> {
  name: string;
  /** CSS classes: `number` aligns right, `wide` is hidden on a narrow page. */
  kind?: string;
  /** The text of a cell, or its text and further classes. */
  cell: (row: Row) => string | { text: string; kind: string };
}

/** Formats a table of text. */
export function formatTableHtml<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
): string {
  const head = columns.map(({ name, kind = '' }) => `<th scope="col"${toClass(kind)}>${name}</th>`);
  const lines = rows.map((row) => {
    const cells = columns.map(({ kind = '', cell }) => {
      const found = cell(row);
      const { text, kind: more } = typeof found === 'string' ? { text: found, kind: '' } : found;
      return `<td${toClass(`${kind} ${more}`.trim())}>${escapeHtml(text)}</td>`;
    });
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<div class="log"><table><thead><tr>${head.join('')}</tr></thead><tbody>${lines.join('\n')}</tbody></table></div>`;
}

function toClass(kind: string): string {
  return kind === '' ? '' : ` class="${kind}"`;
}
