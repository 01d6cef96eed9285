import {
  addSteps,
  clipRanges,
  floorToGrid,
  type Series,
  type TimeRange,
} from '../../market/mod.ts';
import type { Sql } from '../../postgres/mod.ts';
import { openTimes } from '../../store/mod.ts';
import {
  CANDLE_DEFECTS,
  type Check,
  type Finding,
  type FindingRow,
  type SeriesReport,
} from '../mod.ts';

/** What one round of a repair does to one series. Times are open times, Unix ms. */
export interface SeriesPlan {
  series: Series;
  /** The rounds before, oldest first. */
  earlier: readonly Round[];
  /** Whether to delete the copies in klines of archived candles. */
  hasCopies: boolean;
  /** Ranges of bulk files that had candles where a gap is confirmed. The gaps are forgotten. */
  files: TimeRange[];
  /** Those gaps, to be requested again. */
  gaps: TimeRange[];
  /** Slots without a candle, to be filled. */
  missing: TimeRange[];
  /** Slots whose candles are requested again, from bulk files and REST. */
  questionable: Set<number>;
  /** Slots for which that did not help, to be requested from REST alone. */
  stillQuestionable: Set<number>;
  /** Spans of the archive to compare with the exchange. */
  spans: TimeRange[];
  /** Odd candles that the exchange has sent as they are stored. */
  published: { check: Check; row: FindingRow }[];
}

/** A plan that was carried out. */
export interface Round {
  plan: SeriesPlan;
  counts: RepairCounts;
  /** Slots for which REST sent a candle. */
  sent: Set<number>;
  /** Whether gaps were left open, which the check before did not know. */
  leavesOpenGaps: boolean;
}

/** What a repair did to one series, in candles. */
export interface RepairCounts {
  /** Were missing, and are stored now. */
  filled: number;
  /** Had other values than the exchange sends. */
  replaced: number;
  /** Deleted: the exchange has another candle for their slot. */
  removed: number;
  /** Copies in klines of archived candles. */
  copiesDeleted: number;
  /** Slots for which the exchange was asked and has nothing. */
  confirmed: number;
  /** Odd candles that the exchange, asked again, sent as they are stored. */
  asPublished: number;
  /** Spans of the archive that were compared with the exchange, and recorded as they are now. */
  checkpoints: number;
}

/** Checks that find candles which the exchange can send again. */
const CANDLE_CHECKS: ReadonlySet<Check> = new Set<Check>([
  ...CANDLE_DEFECTS,
  ...(['not-closed', 'close-time', 'rollup', 'differs', 'outdated'] as const),
]);
/** REST has another value than is stored, so no file may decide. */
const REST_CHECKS: ReadonlySet<Check> = new Set<Check>(['differs', 'outdated']);
const RANGE_CHECKS: ReadonlySet<Check> = new Set<Check>([
  ...(['missing', 'open-gap', 'loaded-file', 'batch-hash'] as const),
]);

/** Whether a repair can do anything about a finding. */
export function isRepairable({ check, isPublished }: Finding): boolean {
  return !isPublished && (CANDLE_CHECKS.has(check) || RANGE_CHECKS.has(check));
}

/**
 * Decides what to do about the findings in an instrument's series. Changes nothing.
 * @param sql for looking up which parts of a candle are stored
 * @param differing findings of --compare, which are not in the reports
 * @param rounds those that this repair has carried out, of all series
 * @returns one plan for each report, in their order
 */
export async function planRepair(
  sql: Sql,
  reports: readonly SeriesReport[],
  differing: readonly Finding[],
  rounds: readonly Round[],
): Promise<SeriesPlan[]> {
  const plans = reports.map((report) => planRanges(report, rounds));
  for (const [index, { findings }] of reports.entries()) {
    const plan = plans[index]!;
    const same = differing.filter((finding) => finding.interval === plan.series.interval);
    for (const finding of [...findings, ...same]) {
      if (!finding.isPublished && CANDLE_CHECKS.has(finding.check))
        await planCandles(sql, plan, plans, finding);
    }
  }
  return plans;
}

/** Plans everything but single candles. Each file and each span gets one chance. */
function planRanges(
  { series, findings, missing }: SeriesReport,
  rounds: readonly Round[],
): SeriesPlan {
  const earlier = rounds.filter(({ plan }) => plan.series.interval === series.interval);
  const rangesFoundBy = (check: Check) =>
    findings
      .filter((finding) => finding.check === check)
      .flatMap((finding) => finding.rows)
      .map(({ fromMs, toMs = fromMs }) => ({ fromMs, toMs }));
  const isNew = (kind: 'files' | 'spans') => (range: TimeRange) =>
    !earlier.some(({ plan }) => plan[kind].some(({ fromMs }) => fromMs === range.fromMs));
  const files = rangesFoundBy('loaded-file').filter(isNew('files'));
  const gaps = rangesFoundBy('confirmed-gap');
  return {
    series,
    earlier,
    hasCopies: findings.some(({ check }) => check === 'in-both-tiers'),
    files,
    gaps: files.flatMap((file) => clipRanges(gaps, file)),
    missing,
    questionable: new Set(),
    stillQuestionable: new Set(),
    spans: rangesFoundBy('batch-hash').filter(isNew('spans')),
    published: [],
  };
}

/**
 * Plans to request the candles of a finding again. Those that REST has sent already are stored as
 * they are published.
 * @param plans those of all series of the instrument
 */
async function planCandles(
  sql: Sql,
  plan: SeriesPlan,
  plans: readonly SeriesPlan[],
  { check, rows }: Finding,
): Promise<void> {
  const { interval } = plan.series;
  for (const row of rows) {
    const fromMs = floorToGrid(interval, row.fromMs);
    const slot = { fromMs, toMs: addSteps(interval, fromMs, 1) };
    // Where a candle differs from the sum of its parts, either may be wrong.
    const parts = plans.find(({ series }) => series.interval === row.part);
    if (hasSent(plan, fromMs) && (!parts || (await hasSentStored(sql, parts, slot)))) {
      // Without a hash it could not be recognized again.
      if (row.rowHash) plan.published.push({ check, row });
      continue;
    }
    request(plan, fromMs, REST_CHECKS.has(check));
    if (!parts) continue;
    const { interval: part } = parts.series;
    for (let partMs = slot.fromMs; partMs < slot.toMs; partMs = addSteps(part, partMs, 1))
      request(parts, partMs);
  }
}

/**
 * Each slot is requested twice at most.
 * @param onlyRest whether the bulk files are passed over
 */
function request(plan: SeriesPlan, slotMs: number, onlyRest = false): void {
  if (plan.earlier.some((round) => round.plan.stillQuestionable.has(slotMs))) return;
  const wasRequested = plan.earlier.some((round) => round.plan.questionable.has(slotMs));
  (wasRequested || onlyRest ? plan.stillQuestionable : plan.questionable).add(slotMs);
}

/** Whether REST has sent, in an earlier round, a candle for the slot that contains an open time. */
export function hasSent({ series, earlier }: SeriesPlan, openMs: number): boolean {
  return earlier.some((round) => round.sent.has(floorToGrid(series.interval, openMs)));
}

/** Whether REST has sent each stored candle of a range. Its answer may have been incomplete. */
async function hasSentStored(sql: Sql, plan: SeriesPlan, range: TimeRange): Promise<boolean> {
  const stored = await openTimes(sql, plan.series, range, 'all_klines');
  return stored.every((openMs) => hasSent(plan, openMs));
}
