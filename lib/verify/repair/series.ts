import { type BulkDownload, downloadTwice, loadBulk, trueGaps } from '../../download/mod.ts';
import {
  addSteps,
  clipRanges,
  countAllSlots,
  floorToGrid,
  type Interval,
  type Series,
  type TimeRange,
} from '../../market/mod.ts';
import { runSql } from '../../postgres/mod.ts';
import {
  confirmGaps,
  fetchableRanges,
  forgetGaps,
  lockedTransaction,
  openTimes,
  settledUntilMs,
} from '../../store/mod.ts';
import {
  type Check,
  type Finding,
  type FindingRow,
  rememberPublished,
  type SeriesReport,
  sealStretch,
  slotRanges,
  wrongStretches,
} from '../mod.ts';
import { type Answer, askAgain } from './answer.ts';

/** What a repair did to one series, in candles. */
export interface RepairCounts {
  /** Missing, and stored now. */
  filled: number;
  /** Stored with other values than the exchange has. */
  replaced: number;
  /** Taken away: another candle of their slot is the true one. */
  removed: number;
  /** Copies in klines of what the archive holds. */
  copiesDeleted: number;
  /** Slots for which the exchange was asked and has nothing. */
  confirmed: number;
  /** Odd ones that the exchange, asked again, sent just so. */
  asPublished: number;
  /** Batches of the archive that were compared with the exchange and written down anew. */
  sealed: number;
}

/** Without the series: one download serves all intervals of an instrument. */
export type RepairTools = Omit<BulkDownload, 'series'>;

/** Checks whose rows the exchange can be asked about. */
const ASKED = new Set<Check>([
  ...(['not-closed', 'off-grid', 'close-time', 'not-a-number', 'price-not-positive'] as const),
  ...(['impossible-ohlc', 'negative-volume', 'taker-above-total', 'no-volume'] as const),
  ...(['doubled-slot', 'in-both-tiers', 'rollup', 'differs', 'batch-hash'] as const),
]);
const FILLED = new Set<Check>(['missing', 'loaded-file']);

/** Slots between two that are asked for in one request. */
const ASKED_TOGETHER = 100;
const MINUTE_MS = 60_000;

/** Whether a repair can do anything about a finding. */
export function isRepairable(finding: Finding): boolean {
  return !finding.isPublished && (ASKED.has(finding.check) || FILLED.has(finding.check));
}

/** The repair of one series, round by round. */
export class SeriesRepair {
  readonly series: Series;
  readonly counts: RepairCounts = {
    filled: 0,
    replaced: 0,
    removed: 0,
    copiesDeleted: 0,
    confirmed: 0,
    asPublished: 0,
    sealed: 0,
  };
  private readonly download: BulkDownload;
  /** Slots to ask for in this round, and how often each was asked for before. */
  private wanted = new Set<number>();
  private readonly asked = new Map<number, number>();
  /** Slots of which REST sent a candle. */
  private readonly sent = new Set<number>();
  /** Stretches of the archive to compare whole, and those that were. */
  private stretches: TimeRange[] = [];
  /** Bulk files, by the open time they begin with, whose gaps were asked for again. */
  private readonly reopened = new Set<number>();
  private readonly compared = new Set<number>();
  private touchedMs: number[] = [];

  constructor(tools: RepairTools, series: Series) {
    this.series = series;
    this.download = { ...tools, series };
  }

  /** Does what can be done at once, and notes what is to be asked. @returns whether it did something */
  async round(
    report: SeriesReport,
    extra: readonly Finding[],
    repairOf: (interval: Interval) => SeriesRepair,
  ): Promise<boolean> {
    const findings = [...report.findings, ...extra].filter(isRepairable);
    const before = total(this.counts);
    if (findings.some(({ check }) => check === 'in-both-tiers')) await this.deleteCopies();
    await this.fill(await this.lost(report));
    for (const finding of findings.filter(({ check }) => ASKED.has(check))) {
      const settled: FindingRow[] = [];
      for (const row of finding.rows) {
        if (finding.check === 'batch-hash') this.wantStretch(row);
        else if (await this.isSettled(finding.check, row, repairOf)) settled.push(row);
        else this.want(finding.check, row, repairOf);
      }
      const hashed = settled.filter((row) => row.rowHash !== undefined);
      await rememberPublished(this.download.session, this.series, finding.check, hashed);
      this.counts.asPublished += hashed.length;
    }
    return total(this.counts) > before;
  }

  /** What is missing, and what a loaded file says was no gap. */
  private async lost(report: SeriesReport): Promise<TimeRange[]> {
    const files = report.findings.filter(({ check }) => check === 'loaded-file');
    const gaps = report.findings
      .filter(({ check }) => check === 'confirmed-gap')
      .flatMap((finding) => finding.rows)
      .map(({ fromMs, toMs = fromMs }) => ({ fromMs, toMs }));
    const reopened: TimeRange[] = [];
    for (const { fromMs, toMs = fromMs } of files.flatMap((finding) => finding.rows)) {
      if (this.reopened.has(fromMs)) continue;
      this.reopened.add(fromMs);
      const range = { fromMs, toMs };
      for (const each of clipRanges(gaps, range)) reopened.push(each);
      await forgetGaps(this.download.session, this.series, range);
    }
    if (reopened.length > 0) {
      // The file itself once more: loadBulk passes by one that was loaded.
      const options = { isSettledByEqual: true, withFiles: true };
      this.take(await askAgain(this.download, reopened, options));
    }
    const left: TimeRange[] = [];
    for (const range of reopened) {
      for (const each of await fetchableRanges(this.download.session, this.series, range))
        left.push(each);
    }
    return [...report.missing, ...left].sort((a, b) => a.fromMs - b.fromMs);
  }

  /** Bulk files, then REST; what neither has is the exchange's gap. */
  private async fill(missing: readonly TimeRange[]): Promise<void> {
    if (missing.length === 0) return;
    const { session, source } = this.download;
    const { instrument, interval } = this.series;
    const bulk = await loadBulk(this.download, missing);
    // An empty answer may be a broken one: only what was asked for twice becomes a gap.
    const rest = await downloadTwice(this.download, bulk.missing);
    const nowMs = await source.serverTimeMs(instrument.market);
    const gaps = await trueGaps(this.download, rest, settledUntilMs(interval, nowMs));
    await confirmGaps(session, this.series, gaps);
    this.counts.filled += bulk.counts.inserted + rest.counts.inserted;
    this.counts.confirmed += countAllSlots(interval, gaps);
  }

  /** A finding without the candles that REST has sent since; nothing if none are left. */
  leftOf(finding: Finding): Finding[] {
    const rows = finding.rows.filter((row) => !this.hasSent(row.fromMs));
    const count = finding.count - (finding.rows.length - rows.length);
    return count === 0 ? [] : [{ ...finding, count, rows }];
  }

  private async deleteCopies(): Promise<void> {
    const { instrument, interval } = this.series;
    await lockedTransaction(this.download.session, instrument.id, '', async (tx) => {
      const [row] = await runSql<{ deleted: number }>(tx, 'verify/repair/delete_copies.sql', {
        instrument_id: instrument.id,
        interval,
      });
      this.counts.copiesDeleted += row?.deleted ?? 0;
    });
  }

  /** Whether REST has sent what is stored in the slot of a row: then it is published like that. */
  private async isSettled(
    check: Check,
    row: FindingRow,
    repairOf: (interval: Interval) => SeriesRepair,
  ): Promise<boolean> {
    if (!this.hasSent(row.fromMs)) return false;
    if (check !== 'rollup') return true;
    const slotMs = floorToGrid(this.series.interval, row.fromMs);
    return await repairOf('1m').hasSentAll(this.slotRange(slotMs));
  }

  private want(
    check: Check,
    row: FindingRow,
    repairOf: (interval: Interval) => SeriesRepair,
  ): void {
    const slotMs = floorToGrid(this.series.interval, row.fromMs);
    this.wanted.add(slotMs);
    if (check !== 'rollup') return;
    const { fromMs, toMs } = this.slotRange(slotMs);
    const minutes = repairOf('1m');
    for (let minuteMs = fromMs; minuteMs < toMs; minuteMs += MINUTE_MS)
      minutes.wanted.add(minuteMs);
  }

  private slotRange(slotMs: number): TimeRange {
    return { fromMs: slotMs, toMs: addSteps(this.series.interval, slotMs, 1) };
  }

  private hasSent(openMs: number): boolean {
    return this.sent.has(floorToGrid(this.series.interval, openMs));
  }

  /** Whether REST has sent each candle that is stored in a range: an answer may lack some. */
  private async hasSentAll(range: TimeRange): Promise<boolean> {
    const { session } = this.download;
    const stored = await openTimes(session, this.series, range, 'all_klines');
    return stored.every((openMs) => this.hasSent(openMs));
  }

  private wantStretch({ fromMs, toMs = fromMs }: FindingRow): void {
    if (!this.compared.has(fromMs)) this.stretches.push({ fromMs, toMs });
  }

  /**
   * Asks for what this round wants, each slot twice at most: with its bulk file, then REST alone.
   * @returns whether something changed, or is known now that was not
   */
  async ask(): Promise<boolean> {
    const before = total(this.counts) + this.sent.size;
    const wanted = [...this.wanted];
    this.wanted = new Set();
    const turns = [0, 1].map((times) =>
      wanted.filter((slotMs) => (this.asked.get(slotMs) ?? 0) === times),
    );
    for (const [times, slots] of turns.entries()) {
      if (slots.length === 0) continue;
      for (const slotMs of slots) this.asked.set(slotMs, times + 1);
      const ranges = slotRanges(this.series, slots, ASKED_TOGETHER);
      const withFiles = times === 0;
      this.take(await askAgain(this.download, ranges, { isSettledByEqual: false, withFiles }));
    }
    await this.compareStretches(this.stretches);
    this.stretches = [];
    return total(this.counts) + this.sent.size > before;
  }

  private take(answer: Answer): void {
    this.counts.replaced += answer.replaced;
    this.counts.removed += answer.removed;
    for (const timeMs of answer.archivedMs) this.touchedMs.push(timeMs);
    for (const sentMs of answer.sentMs) this.sent.add(floorToGrid(this.series.interval, sentMs));
  }

  /** Moves what was stored anew where the archive lies, and accounts for each batch touched. */
  async settle(since: Date): Promise<void> {
    const { session } = this.download;
    const { instrument, interval } = this.series;
    if (this.counts.filled + this.counts.replaced === 0) return;
    const moved = await lockedTransaction(session, instrument.id, '', (tx) =>
      runSql<{ open_time: Date }>(tx, 'verify/repair/move_to_archive.sql', {
        instrument_id: instrument.id,
        interval,
        since,
      }),
    );
    const touched = [...this.touchedMs, ...moved.map((row) => row.open_time.getTime())];
    this.touchedMs = [];
    if (touched.length === 0) return;
    const hull = {
      fromMs: touched.reduce((least, timeMs) => Math.min(least, timeMs)),
      toMs: touched.reduce((most, timeMs) => Math.max(most, timeMs)) + 1,
    };
    const wrong = await wrongStretches(session, this.series, hull);
    await this.compareStretches(
      wrong.filter(({ fromMs, toMs }) =>
        touched.some((timeMs) => timeMs >= fromMs && timeMs < toMs),
      ),
    );
  }

  /** What a seal says was held against the exchange, candle by candle. */
  private async compareStretches(stretches: readonly TimeRange[]): Promise<void> {
    for (const stretch of stretches) {
      const options = { isSettledByEqual: true, withFiles: true };
      const answer = await askAgain(this.download, [stretch], options);
      this.counts.replaced += answer.replaced;
      this.counts.removed += answer.removed;
      this.compared.add(stretch.fromMs);
      if (!(await this.isBacked(stretch, answer))) continue;
      await sealStretch(this.download.session, this.series, stretch);
      this.counts.sealed += 1;
    }
  }

  /** Whether an answer has every archived candle of a stretch: one that is empty proves nothing. */
  private async isBacked(stretch: TimeRange, answer: Answer): Promise<boolean> {
    const had = new Set([...answer.sentMs, ...answer.inFilesMs]);
    const archived = await openTimes(this.download.session, this.series, stretch, 'klines_archive');
    return archived.every((openMs) => had.has(openMs));
  }
}

function total(counts: RepairCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
