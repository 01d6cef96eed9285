/** The reference of tables, views and functions, from the comments in the schema. */
import type postgres from 'postgres';

interface Column {
  relation: string;
  comment: string | null;
  key: string | null;
  name: string;
  type: string;
  meaning: string | null;
}

const BEGIN = '<!-- reference: made from the comments in sql/schema -->';
const END = '<!-- end of the reference -->';

/** A heading, the comment, and a table of columns for each relation; then the functions. */
export async function renderTables(sql: postgres.Sql): Promise<string> {
  const columns = await sql<Column[]>`
    select
      c.relname as relation,
      obj_description(c.oid, 'pg_class') as comment,
      pg_get_constraintdef(k.oid) as key,
      a.attname as name,
      format_type(a.atttypid, a.atttypmod) as type,
      col_description(c.oid, a.attnum) as meaning
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
    where c.relnamespace = current_schema::regnamespace
      and c.relkind in ('r', 'p', 'v')
      and not c.relispartition
    order by c.relname, a.attnum`;
  const functions = await sql<{ signature: string; comment: string | null }[]>`
    select
      format('%s(%s)', proname, pg_get_function_identity_arguments(oid)) as signature,
      obj_description(oid, 'pg_proc') as comment
    from pg_proc
    where pronamespace = current_schema::regnamespace
    order by 1`;
  const relations = [...new Set(columns.map(({ relation }) => relation))];
  return [
    ...relations.map((name) => renderRelation(columns.filter(({ relation }) => relation === name))),
    '### Functions',
    functions
      .map(({ signature, comment }) => `- \`${signature}\`${comment ? `: ${comment}` : ''}`)
      .join('\n'),
  ].join('\n\n');
}

function renderRelation(columns: Column[]): string {
  const [{ relation, comment, key }] = columns as [Column];
  const rows = columns.map(({ name, type, meaning }) => [
    `\`${name}\``,
    type.replace(/^timestamp(.*) with time zone$/, 'timestamptz$1'),
    meaning ?? '',
  ]);
  return [
    `### ${relation}`,
    ...(comment ? [comment] : []),
    ['| column | type | meaning |', '| --- | --- | --- |', ...rows.map(renderRow)].join('\n'),
    ...(key ? [`Primary key: ${key.replace(/^PRIMARY KEY /, '')}`] : []),
  ].join('\n\n');
}

function renderRow(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The document with this reference between its markers. */
export function replaceTables(markdown: string, reference: string): string {
  const [begin, end] = [markdown.indexOf(BEGIN), markdown.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`Wanted "${BEGIN}" and "${END}".`);
  return `${markdown.slice(0, begin)}${BEGIN}\n\n${reference}\n\n${markdown.slice(end)}`;
}
