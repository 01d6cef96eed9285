import type { sortRuns } from '../lib/store/mod.ts';

/** The last lines of a summary: which instruments were busy, and which failed, grouped by error. */
export function formatUndone({
  held,
  failed,
}: Pick<ReturnType<typeof sortRuns>, 'held' | 'failed'>): string[] {
  const byError = new Map<string, string[]>();
  for (const { symbol, error } of failed)
    byError.set(error, [...(byError.get(error) ?? []), symbol]);
  return [
    ...(held.length > 0
      ? [`${held.length} in use by another run, skipped: ${held.join(', ')}`]
      : []),
    ...(failed.length > 0 ? [`${failed.length} FAILED:`] : []),
    ...[...byError].map(([error, symbols]) => `  ${symbols.join(', ')}: ${error}`),
  ];
}
