import type postgres from 'postgres';

/** The error codes that something here depends on, by PostgreSQL's condition names (its Appendix A). */
export const SQLSTATE = {
  divisionByZero: '22012',
  uniqueViolation: '23505',
  checkViolation: '23514',
  readOnlySqlTransaction: '25006',
  invalidAuthorization: '28000',
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  insufficientPrivilege: '42501',
  duplicateTable: '42P07',
  outOfMemory: '53200',
  tooManyConnections: '53300',
  lockNotAvailable: '55P03',
  cannotConnectNow: '57P03',
} as const;

/** The SQLSTATE of an error or of the first of its causes that has one. */
export function sqlState(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at.name === 'PostgresError') return (at as postgres.PostgresError).code;
  }
  return undefined;
}
