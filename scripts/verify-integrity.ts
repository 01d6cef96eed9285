import { DAY_MS, EXIT, type ExitCode, formatCount } from '../lib/base/mod.ts';
import {
  checkOrder,
  defineScript,
  FILTER_OPTIONS,
  main,
  option,
  readFilter,
} from '../lib/cli/mod.ts';
import { type InstrumentResult, sortResults } from '../lib/store/mod.ts';
import { byWorst, type Finding, type FindingRow, isAtLeast } from '../lib/verify/mod.ts';
import { formatRechecked, formatRepair, formatReports, toJsonFinding } from './_findings.ts';
import { sumRechecked } from './_recheck.ts';
import { formatUndone } from './_text.ts';
import { verifyIntegrity } from './_verify.ts';

export const script = defineScript({
  name: 'verify',
  summary:
    'Check that each series is complete and has no duplicates or invalid candles; exit with 2 if not. --repair fixes what it can',
  examples: [
    '',
    '--from 7d --files --repair --quiet',
    '--symbol BTC/USDT --compare 100',
    '--repair',
    '--recheck-gaps 20',
    '--deep --json',
  ],
  options: {
    ...FILTER_OPTIONS,
    from: option.instant
      .optional()
      .describe(
        'Check only candles that open at or after this: a date, or a span before now such as 7d',
      ),
    to: option.instant.optional().describe('Check only candles that open before this'),
    compare: option
      .wholeNumber(1, 100_000)
      .optional()
      .describe('Compare this many random candles per series with Binance, field by field'),
    files: option.flag.describe(
      'Compare published files of the range that were not loaded with the stored candles, field by field',
    ),
    repair: option.flag.describe(
      'Request missing and odd candles again, and store what Binance sends',
    ),
    recheckGaps: option
      .wholeNumber(1, 100_000)
      .optional()
      .describe(
        'Request this many confirmed gaps again, those first that were not requested for the longest time',
      ),
    deep: option.flag.describe('Re-hash the archive and compare it with the batch log'),
    failOn: option
      .oneOf(['error', 'warning'])
      .default('error')
      .describe('Exit with 2 for findings of this severity or worse: error or warning'),
  },
  read({ symbol, market, interval, from, to, deep, ...options }, refuse) {
    checkOrder({ from, to }, refuse);
    const filter = readFilter({ symbol, market, interval }, refuse);
    return { ...options, ...filter, fromMs: from, toMs: to, isDeep: deep };
  },
  writes: ({ repair, recheckGaps }) => repair || recheckGaps !== undefined,
  async run(options, context) {
    const { reports, runs, rechecks, filesCompared } = await verifyIntegrity(options, context);
    const { done } = sortResults(runs);
    const { busy, failed } = sortResults<unknown>([...rechecks, ...runs]);
    const rechecked = sumRechecked(sortResults(rechecks).done);
    const repaired = done.flatMap((each) => each.done);
    const series = reports.flatMap((report) => report.series);
    const findings = [...reports, ...series].flatMap((each) => each.findings).sort(byWorst);
    const failing = findings.filter((finding) => isAtLeast(finding, options.failOn));
    return {
      exitCode: exitCode(failing, findings, [...rechecks, ...runs]),
      json: {
        series: series.length,
        candles: series.reduce((sum, each) => sum + each.candles, 0),
        ...(options.files ? { files: filesCompared } : {}),
        findings: findings.map(toJsonFinding),
        repaired: repaired.map(({ series: { instrument, interval }, counts }) => ({
          market: instrument.market,
          symbol: instrument.symbol,
          interval,
          ...counts,
        })),
        ...(options.recheckGaps === undefined ? {} : { rechecked }),
        busy,
        failed,
      },
      text: [
        ...(options.recheckGaps === undefined ? [] : [formatRechecked(rechecked)]),
        ...repaired.map(formatRepair),
        ...(options.files
          ? [
              `${formatCount(filesCompared)} published ${filesCompared === 1 ? 'file' : 'files'} compared`,
            ]
          : []),
        formatReports(reports, { withInfo: options.symbols.length > 0 }),
        ...formatUndone({ busy, failed }),
      ].join('\n'),
    };
  },
});

function exitCode(
  failing: readonly Finding[],
  findings: readonly Finding[],
  runs: readonly InstrumentResult<unknown>[],
): ExitCode {
  if (runs.some((run) => run.state === 'failed')) return EXIT.failed;
  if (failing.length > 0) return EXIT.findings;
  const isBusy = runs.some((run) => run.state === 'busy');
  return isBusy || findings.some(isOldOpenGap) ? EXIT.later : EXIT.done;
}

/** Whether a finding is about open gaps that are old enough for a later run to confirm them. */
function isOldOpenGap({ check, rows }: Finding): boolean {
  const isOld = ({ toMs = 0 }: FindingRow) => toMs <= Date.now() - DAY_MS;
  return check === 'open-gap' && rows.some(isOld);
}

await main(import.meta, script);
