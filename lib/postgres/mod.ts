/** Access to PostgreSQL: addresses, connections, SQL files, schema files, error codes. */
export { formatAddress, parseAddress } from './address.ts';
export { CANDLE_COLUMNS } from './candle-columns.ts';
export {
  connectDatabase,
  type Database,
  disconnected,
  isConnectionLost,
  isWriteAfterLoss,
  type Session,
} from './connection.ts';
export { withoutPassword } from './connection-string.ts';
export { copyIn } from './copy.ts';
export { createIn, findHome, quote } from './home.ts';
export { assertWritable } from './home-checks.ts';
export { explainFullLockTable, isLockTableFull } from './lock-table.ts';
export { migrate } from './migrate.ts';
export { explainRefusal } from './refusals.ts';
export { checkServer } from './server.ts';
export { createSessionPool, type SessionPool } from './sessions.ts';
export {
  columnList,
  quoteIdentifier,
  renderSql,
  runSql,
  runStatements,
  type Sql,
  SqlText,
  type SqlValues,
} from './sql-file.ts';
export { streamSql } from './sql-stream.ts';
export { SQLSTATE, sqlState } from './sqlstate.ts';
