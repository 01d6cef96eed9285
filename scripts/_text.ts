import type { sortResults } from '../lib/store/mod.ts';

/** The last lines of a summary: which symbols were busy, and which failed. */
export function describeUndone({
  busy,
  failed,
}: Pick<ReturnType<typeof sortResults>, 'busy' | 'failed'>): string[] {
  return [
    ...(busy.length > 0
      ? [`${busy.length} skipped, busy with another run: ${busy.join(', ')}`]
      : []),
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
