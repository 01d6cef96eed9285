import { expect, test } from 'vitest';
import { listInstruments } from '../../lib/store/instruments.ts';
import { withInstrumentLock } from '../../lib/store/locks.ts';
import { ensureTable, findTable } from '../../lib/store/tables.ts';
import { freshDatabase } from '../support/database.ts';

test('findTable(): never reports a taken name while the table is created', async () => {
  const database = await freshDatabase();
  const { sql } = database;
  for (let n = 0; n < 20; n += 1) {
    await sql`
      insert into instruments (market, symbol, exchange_symbol, base, quote, status, table_name)
      values ('spot', ${`A${n}/USDT`}, ${`A${n}USDT`}, ${`A${n}`}, 'USDT', 'active', ${`a${n}_usdt`})`;
  }
  const session = database.openSession();
  for (const instrument of await listInstruments(sql)) {
    let isOver = false;
    const creating = withInstrumentLock(session, instrument.id, () =>
      ensureTable(session, instrument),
    ).finally(() => {
      isOver = true;
    });
    while (!isOver) expect((await findTable(sql, instrument)).state).not.toBe('taken');
    await creating;
  }
});
