/** What the options --compare and --files of the script verify do. */
import { inParallel } from '../lib/base/mod.ts';
import type { Context } from '../lib/cli/mod.ts';
import { canRecordComparisons } from '../lib/store/mod.ts';
import {
  type CheckOptions,
  compareFiles,
  compareSeries,
  type InstrumentReport,
} from '../lib/verify/mod.ts';
import type { DifferingFiles } from '../lib/verify/repair/mod.ts';

type Bounds = Pick<CheckOptions, 'fromMs' | 'toMs'>;

/** REST pages requested at the same time for one instrument. */
const PAGE_CONCURRENCY = 4;
/** Instruments whose files are compared at the same time: enough to wait for several downloads. */
const FILES_CONCURRENCY = 4;

/** Adds findings about random stored candles that differ from what Binance sends now. */
export async function compareRandom(
  picks: number,
  { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER }: Bounds,
  context: Context,
  report: InstrumentReport,
): Promise<void> {
  const database = await context.database();
  const source = await context.rest();
  const session = database.openSession();
  try {
    for (const { series, stored, findings } of report.series) {
      if (!stored) continue;
      const { signal } = context;
      const download = { source, session, series, signal, concurrency: PAGE_CONCURRENCY };
      findings.push(...(await compareSeries(download, stored, { fromMs, toMs }, picks)));
    }
  } finally {
    await session.end();
  }
}

/**
 * Adds findings about candles that differ from published bulk files.
 * @returns how many files were compared, and what was found in each instrument, by its id
 */
export async function compareWithFiles(
  { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER }: Bounds,
  context: Context,
  reports: readonly InstrumentReport[],
): Promise<{ compared: number; differing: Map<number, DifferingFiles[]> }> {
  const [{ sql }, source, bulk] = await Promise.all([
    context.database(),
    context.rest(),
    context.bulk(),
  ]);
  const sources = { source, bulk, signal: context.signal };
  const records = await canRecordComparisons(sql);
  const differing = new Map<number, DifferingFiles[]>();
  let compared = 0;
  context.progress.start(reports.length, 'instruments with files');
  await inParallel(reports, FILES_CONCURRENCY, async ({ instrument, series }) => {
    const found: DifferingFiles[] = [];
    for (const report of series) {
      const files = await compareFiles(sql, sources, report, { fromMs, toMs }, records);
      compared += files.compared;
      report.findings.push(...files.findings);
      found.push({ report, files: files.differing, settled: files.settled });
    }
    differing.set(instrument.id, found);
    context.progress.advance(1, instrument.symbol);
  });
  return { compared, differing };
}
