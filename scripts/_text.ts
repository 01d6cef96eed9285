import { EXIT, type ExitCode, formatCount } from '../lib/base/mod.ts';
import type { OpenGapCounts } from '../lib/download/mod.ts';
import type { sortResults } from '../lib/store/mod.ts';

/** The last lines of a summary: which instruments were busy, and which failed, grouped by error. */
export function formatUndone({
  busy,
  failed,
}: Pick<ReturnType<typeof sortResults>, 'busy' | 'failed'>): string[] {
  const byError = new Map<string, string[]>();
  for (const { symbol, error } of failed)
    byError.set(error, [...(byError.get(error) ?? []), symbol]);
  return [
    ...(busy.length > 0
      ? [`${busy.length} skipped, locked by another run: ${busy.join(', ')}`]
      : []),
    ...(failed.length > 0 ? [`${failed.length} FAILED:`] : []),
    ...[...byError].map(([error, symbols]) => `  ${symbols.join(', ')}: ${error}`),
  ];
}

/** `3 filled`, `1 replaced`: without what is zero. */
export function formatCounts(
  counts: readonly (readonly [count: number, what: string])[],
): string[] {
  return counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => `${formatCount(count)} ${what}`);
}

/** What follows the number of candles in open gaps. */
export function formatOpenGaps({ oldOpenGaps }: OpenGapCounts): string {
  return oldOpenGaps > 0 ? 'in open gaps: run it again in 5 minutes' : 'in open gaps';
}

/** 75 instead of 0 when open gaps remain that a later run can confirm or fill. */
export function laterIfOpen(exitCode: ExitCode, series: readonly OpenGapCounts[]): ExitCode {
  const isOpen = series.some(({ oldOpenGaps }) => oldOpenGaps > 0);
  return exitCode === EXIT.done && isOpen ? EXIT.later : exitCode;
}
