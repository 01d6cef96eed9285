import type postgres from 'postgres';
import { addSteps } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import { lastRuns, listInstruments } from '../store/mod.ts';
import { readAccess } from './access.ts';
import { storeStatus } from './status.ts';

type Sample = [labels: Record<string, string>, value: number];

/** Collects freshness, sizes, runs and request weight in Prometheus' text format. */
export async function collectMetrics(sql: postgres.Sql, nowMs: number): Promise<string> {
  const [stored, runs, dayRuns, ends, rejected] = [
    await storeStatus(sql, await readAccess(sql), await listInstruments(sql), nowMs),
    await lastRuns(sql),
    await runSql<{ verb: string; outcome: string; count: number }>(sql, 'read/daily_runs.sql'),
    await runSql<{ verb: string; exit_code: number; succeeded: number | null }>(
      sql,
      'read/last_ends.sql',
    ),
    await sql`select count(*)::int as count from rejected_klines`,
  ];
  const series = stored.flatMap(({ instrument: { market, symbol, status }, series: all }) =>
    all.map((each) => ({
      ...each,
      labels: { market, symbol, interval: each.interval },
      isActive: status === 'active',
      endMs: addSteps(each.interval, each.lastMs, 1),
    })),
  );
  return [
    formatGauge(
      'klinekeep_behind_seconds',
      'How long ago the next candle of a followed series closed.',
      series.flatMap((each) => (each.isActive ? [[each.labels, each.behindMs / 1000]] : [])),
    ),
    formatGauge(
      'klinekeep_last_candle_end_timestamp_seconds',
      'When the last stored candle ended.',
      series.map(({ labels, endMs }) => [labels, endMs / 1000]),
    ),
    formatGauge(
      'klinekeep_candles',
      'Estimated number of stored candles, from the first and the last.',
      series.flatMap(({ labels, rows }) => perTier(labels, rows)),
    ),
    formatGauge(
      'klinekeep_confirmed_gap_candles',
      'Candles that the exchange does not have.',
      series.map(({ labels, gapCandles }) => [labels, gapCandles]),
    ),
    formatGauge(
      'klinekeep_table_bytes',
      'Size of the tables and indexes of an instrument, as of the last VACUUM or ANALYZE.',
      stored.flatMap(({ instrument: { market, symbol }, bytes }) =>
        perTier({ market, symbol }, bytes),
      ),
    ),
    formatGauge(
      'klinekeep_rejected_klines',
      'Rows that Binance sent and that are not valid candles.',
      [[{}, rejected[0]?.count]],
    ),
    formatGauge(
      'klinekeep_run_start_timestamp_seconds',
      'When the last run of each verb began.',
      runs.map(({ verb, startedMs }) => [{ verb }, startedMs / 1000]),
    ),
    formatGauge(
      'klinekeep_run_exit_code',
      'Exit code of the last finished run of each verb.',
      ends.map(({ verb, exit_code }) => [{ verb }, exit_code]),
    ),
    formatGauge(
      'klinekeep_run_success_timestamp_seconds',
      'When the last successful run of each verb ended.',
      ends.flatMap(({ verb, succeeded }) => (succeeded === null ? [] : [[{ verb }, succeeded]])),
    ),
    formatGauge(
      'klinekeep_runs_of_a_day',
      'Runs of the last 24 hours by outcome.',
      dayRuns.map(({ verb, outcome, count }) => [{ verb, outcome }, count]),
    ),
  ].join('');
}

function perTier(labels: Sample[0], values: { hot: number; archive: number }): Sample[] {
  return [
    [{ ...labels, tier: 'hot' }, values.hot],
    [{ ...labels, tier: 'archive' }, values.archive],
  ];
}

function formatGauge(name: string, help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `${name}${formatLabels(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`;
}

function formatLabels(labels: Sample[0]): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
