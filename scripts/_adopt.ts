/** What the script db adopt does: copy, then read again and compare. */
import { formatShort, KlinekeepError } from '../lib/base/mod.ts';
import type { Context } from '../lib/cli/mod.ts';
import {
  type AdoptCounts,
  type AdoptWork,
  assertNameIsFree,
  copyCandles,
  type FieldMap,
  type ForeignTable,
  findForeignTable,
  findOrRegisterOffline,
  plannedInstrument,
  planRows,
  renameTable,
} from '../lib/download/mod.ts';
import type { Instrument, Interval, SymbolName } from '../lib/market/mod.ts';
import { eachInstrument, throwIfOnlyFailure } from '../lib/store/mod.ts';

export interface AdoptOptions {
  table: string;
  name: SymbolName;
  interval: Interval;
  map: FieldMap;
  rename?: string | undefined;
  dryRun: boolean;
}

export interface Adopted {
  instrument: Instrument;
  /** Under the name that it has now. */
  table: ForeignTable;
  counts: AdoptCounts;
  /** What a second reading of the table found; undefined after a dry run. */
  compared: AdoptCounts | undefined;
}

/** Copies the table's candles under the instrument's lock, then reads it again and compares. */
export async function adopt(options: AdoptOptions, context: Context): Promise<Adopted> {
  const database = await context.database();
  const { interval, map, rename, dryRun } = options;
  // Nothing is registered for a table that is missing or cannot be read.
  const found = await findForeignTable(database.sql, options.table, rename);
  planRows(found.columns, { instrument: plannedInstrument(options.name), interval }, map);
  const { instrument, nowMs } = await findOrRegisterOffline(
    database.sql,
    () => context.rest(),
    options.name,
    { writes: !dryRun, warn: context.log.warn },
  );
  context.progress.start(0, 'rows');
  const read = (work: Pick<AdoptWork, 'session' | 'signal' | 'table' | 'writes' | 'onNote'>) =>
    copyCandles({
      ...work,
      database,
      series: { instrument, interval },
      map,
      nowMs,
      onRows: (rows, untilMs) => {
        context.progress.extend(rows);
        context.progress.advance(rows, `${instrument.symbol} ${formatShort(untilMs)}`);
      },
    });
  const onNote = context.log.info;

  if (dryRun) {
    await assertNameIsFree(database.sql, instrument, found, rename);
    const session = database.openSession();
    const work = { session, signal: context.signal, table: found, writes: false, onNote };
    const counts = await read(work).finally(() => session.end({ timeout: 5 }));
    return { instrument, table: found, counts, compared: undefined };
  }
  const [run] = await eachInstrument(
    database,
    [instrument],
    { concurrency: 1, signal: context.signal },
    async ({ session, signal }): Promise<Adopted> => {
      let table = await findForeignTable(session, options.table, rename);
      await assertNameIsFree(session, instrument, table, rename);
      if (rename !== undefined) table = await renameTable(session, table, rename);
      const counts = await read({ session, signal, table, writes: true, onNote });
      const compared = await read({ session, signal, table, writes: false });
      assertArrived(counts, compared, table);
      return { instrument, table, counts, compared };
    },
  );
  if (run) throwIfOnlyFailure([run]);
  if (run?.state === 'done') return run.result;
  throw new KlinekeepError(
    'later',
    `Cannot adopt into ${instrument.symbol}: another run has locked it.`,
    {
      hint: 'Run it again after the other run has finished.',
    },
  );
}

function assertArrived(counts: AdoptCounts, compared: AdoptCounts, table: ForeignTable): void {
  if (counts.rows === counts.rejected) {
    throw new KlinekeepError(
      'data',
      `No row of ${table.quoted} is a candle: ${counts.reasons[0]}.`,
      {
        hint: 'The rejected rows and the reasons are in rejected_klines. Use --map for columns with other names.',
      },
    );
  }
  if (compared.missing === 0 && compared.different <= counts.different) return;
  throw new KlinekeepError(
    'failed',
    `The second reading found ${compared.missing} candles of ${table.quoted} that are not stored, and ` +
      `${compared.different} that differ; wanted 0 and ${counts.different}.`,
    { hint: 'Another program may be writing to that table. Run it again.' },
  );
}
