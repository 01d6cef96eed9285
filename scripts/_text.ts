import type { sortRuns } from '../lib/store/mod.ts';

/** The lines that name what was held and what failed, for the end of a summary. */
export function describeUndone({
  held,
  failed,
}: Pick<ReturnType<typeof sortRuns>, 'held' | 'failed'>): string[] {
  return [
    ...(held.length > 0 ? [`${held.length} held by another run, skipped: ${held.join(', ')}`] : []),
    ...(failed.length > 0 ? [`${failed.length} FAILED:`] : []),
    ...[...symbolsByError(failed)].map(([error, symbols]) => `  ${symbols.join(', ')}: ${error}`),
  ];
}

function symbolsByError(failed: readonly { symbol: string; error: string }[]) {
  const byError = new Map<string, string[]>();
  for (const { symbol, error } of failed)
    byError.set(error, [...(byError.get(error) ?? []), symbol]);
  return byError;
}
