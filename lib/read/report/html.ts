/** Escapes text for HTML, in quoted attributes too. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Text and CSS classes: `number` aligns right, `wide` is hidden on a narrow page. */
export type Cell = readonly [text: string, classes?: string];

/** Formats a table of text. */
export function formatTableHtml(head: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  const toRow = (cells: readonly Cell[], tag: string, attributes = '') =>
    `<tr>${cells.map(([text, classes = '']) => `<${tag}${attributes} class="${classes}">${escapeHtml(text)}</${tag}>`).join('')}</tr>`;
  const body = rows.map((cells) => toRow(cells, 'td')).join('\n');
  return `<div class="log"><table><thead>${toRow(head, 'th', ' scope="col"')}</thead><tbody>${body}</tbody></table></div>`;
}
