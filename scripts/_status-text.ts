import {
  formatCount,
  formatRough,
  formatShort,
  formatSpan,
  formatTable,
  formatTime,
} from '../lib/base/mod.ts';
import type { InstrumentStatus, SeriesStatus } from '../lib/read/mod.ts';
import type { Run } from '../lib/store/mod.ts';

const WIDTH = 80;

/** One series in the output. */
export interface StatusLine extends SeriesStatus {
  status: InstrumentStatus;
  /** Active, and further behind than `--stale` allows. */
  isStale: boolean;
}

export function toJsonSeries(line: StatusLine) {
  const { instrument, bytes } = line.status;
  return {
    symbol: instrument.symbol,
    market: instrument.market,
    status: instrument.status,
    interval: line.interval,
    first: formatTime(line.firstMs),
    last: formatTime(line.lastMs),
    behindSeconds: Math.round(line.behindMs / 1000),
    isStale: line.isStale,
    estimatedRows: line.rows,
    /** Of all series of the instrument, which share a table. */
    tableBytes: bytes,
    gaps: { candles: line.gapCandles, spans: line.gaps.length },
  };
}

export function toJsonRun({ startedMs, finishedMs, ...run }: Run) {
  return {
    ...run,
    started: formatTime(startedMs),
    finished: finishedMs === undefined ? null : formatTime(finishedMs),
  };
}

export function totalBytes(stored: readonly InstrumentStatus[]) {
  const sum = (tier: 'hot' | 'archive') => stored.reduce((all, each) => all + each.bytes[tier], 0);
  return { hot: sum('hot'), archive: sum('archive') };
}

export function formatStatus(
  stored: readonly InstrumentStatus[],
  lines: readonly StatusLine[],
  runs: readonly Run[],
  nowMs: number,
): string {
  const { hot, archive } = totalBytes(stored);
  const instruments = `${formatCount(stored.length)} ${stored.length === 1 ? 'instrument' : 'instruments'}`;
  const total = `${formatCount(lines.length)} series of ${instruments}, ${formatRough(hot)}B hot, ${formatRough(archive)}B archived`;
  const parts =
    lines.length === 0
      ? ['Nothing is stored yet. Start with fetch.']
      : [formatSeries(lines), total];
  return [...parts, ...(runs.length === 0 ? [] : [formatRuns(runs, nowMs)])].join('\n\n');
}

export function formatStale(count: number, stale: readonly StatusLine[], staleMs: number): string {
  const allowed = formatSpan(staleMs);
  if (stale.length === 0)
    return `${formatCount(count)} series, none behind by more than ${allowed}`;
  return `${formatCount(stale.length)} of ${formatCount(count)} series ${stale.length === 1 ? 'is' : 'are'} behind by more than ${allowed}:\n\n${formatSeries(stale)}`;
}

function formatSeries(lines: readonly StatusLine[]): string {
  const rows = lines.map((line, index) => {
    const { instrument, bytes } = line.status;
    const isFirst = lines[index - 1]?.status !== line.status;
    return [
      instrument.symbol,
      line.interval,
      formatTime(line.firstMs).slice(0, 10),
      formatTime(line.lastMs).slice(0, 10),
      formatBehind(line),
      line.rows.hot === 0 ? '' : `~${formatRough(line.rows.hot)}`,
      line.rows.archive === 0 ? '' : `~${formatRough(line.rows.archive)}`,
      isFirst ? `${formatRough(bytes.hot + bytes.archive)}B` : '',
      line.gapCandles === 0 ? '' : formatRough(line.gapCandles),
    ];
  });
  const head = ['symbol', 'int', 'first', 'last', 'behind', 'hot', 'archive', 'bytes', 'gaps'];
  return formatTable(head, rows, { right: [4, 5, 6, 7, 8], maxWidth: WIDTH });
}

function formatBehind({ status, behindMs }: StatusLine): string {
  if (status.instrument.status === 'delisted') return 'ended';
  return behindMs === 0 ? 'no' : formatSpan(behindMs);
}

function formatRuns(runs: readonly Run[], nowMs: number): string {
  const rows = runs.map((run) => [
    run.verb,
    formatShort(run.startedMs),
    formatSpan((run.finishedMs ?? nowMs) - run.startedMs),
    formatOutcome(run),
  ]);
  return formatTable(['last run of', 'started (UTC)', 'took', 'outcome'], rows, {
    right: [2],
    maxWidth: WIDTH,
  });
}

function formatOutcome({ outcome, message, counts }: Run): string {
  if (outcome === undefined) return 'running, or killed';
  if (message !== undefined) return `${outcome}: ${message.split('\n')[0]}`;
  const parts = Object.entries(counts)
    // The details of an update are its series, which are counted already.
    .filter(([name, count]) => count > 0 && name !== 'details')
    .map(([name, count]) => `${formatCount(count)} ${formatName(name, count)}`);
  return parts.length === 0 ? outcome : `${outcome}: ${parts.join(', ')}`;
}

/** `rowsLeft` as `rows left`; for a single one `row` and `batch`, while `series` stays. */
function formatName(name: string, count: number): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return count !== 1 || name === 'series' ? words : words.replace(/(?<=ch)es\b|s\b/, '');
}
