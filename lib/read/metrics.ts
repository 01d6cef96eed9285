import type postgres from 'postgres';
import { addSteps } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import { lastRuns, listInstruments } from '../store/mod.ts';
import { readAccess } from './access.ts';
import { storeStatus } from './status.ts';

type Labels = Record<string, string>;

interface Metric {
  name: string;
  help: string;
  samples: [labels: Labels, value: number][];
}

/** Collects freshness, sizes, runs and request weight in Prometheus' text format. */
export async function collectMetrics(sql: postgres.Sql, nowMs: number): Promise<string> {
  const [stored, runs, dayRuns, ends, rejected, weights] = [
    await storeStatus(sql, await readAccess(sql), await listInstruments(sql), nowMs),
    await lastRuns(sql),
    await runSql<{ verb: string; outcome: string; count: number }>(sql, 'read/daily_runs.sql'),
    await runSql<{ verb: string; exit_code: number; succeeded: number | null }>(
      sql,
      'read/last_ends.sql',
    ),
    await sql`select count(*)::int as count from rejected_klines`,
    await spentWeights(sql),
  ];
  const series = stored.flatMap(({ instrument, series: all }) =>
    all.map((each) => ({
      each,
      labels: { market: instrument.market, symbol: instrument.symbol, interval: each.interval },
      isActive: instrument.status === 'active',
    })),
  );
  const metrics: Metric[] = [
    {
      name: 'klinekeep_behind_seconds',
      help: 'How long ago the next candle of a followed series closed.',
      samples: series
        .filter(({ isActive }) => isActive)
        .map(({ labels, each }) => [labels, each.behindMs / 1000]),
    },
    {
      name: 'klinekeep_last_candle_end_timestamp_seconds',
      help: 'When the last stored candle ended.',
      samples: series.map(({ labels, each }) => [
        labels,
        addSteps(each.interval, each.lastMs, 1) / 1000,
      ]),
    },
    {
      name: 'klinekeep_candles',
      help: 'Estimated number of stored candles, from the first and the last.',
      samples: series.flatMap(({ labels, each }): Metric['samples'] => [
        [{ ...labels, tier: 'hot' }, each.rows.hot],
        [{ ...labels, tier: 'archive' }, each.rows.archive],
      ]),
    },
    {
      name: 'klinekeep_confirmed_gap_candles',
      help: 'Candles that the exchange does not have.',
      samples: series.map(({ labels, each }) => [labels, each.gapCandles]),
    },
    {
      name: 'klinekeep_table_bytes',
      help: 'Size of the tables and indexes of an instrument, as of the last VACUUM or ANALYZE.',
      samples: stored.flatMap(({ instrument, bytes }): Metric['samples'] => {
        const labels = { market: instrument.market, symbol: instrument.symbol };
        return [
          [{ ...labels, tier: 'hot' }, bytes.hot],
          [{ ...labels, tier: 'archive' }, bytes.archive],
        ];
      }),
    },
    {
      name: 'klinekeep_rejected_klines',
      help: 'Rows that Binance sent and that are not valid candles.',
      samples: [[{}, rejected[0]?.count]],
    },
    {
      name: 'klinekeep_run_start_timestamp_seconds',
      help: 'When the last run of each verb began.',
      samples: runs.map((run) => [{ verb: run.verb }, run.startedMs / 1000]),
    },
    {
      name: 'klinekeep_run_exit_code',
      help: 'Exit code of the last finished run of each verb.',
      samples: ends.map(({ verb, exit_code }) => [{ verb }, exit_code]),
    },
    {
      name: 'klinekeep_run_success_timestamp_seconds',
      help: 'When the last successful run of each verb ended.',
      samples: ends.flatMap(({ verb, succeeded }): Metric['samples'] =>
        succeeded === null ? [] : [[{ verb }, succeeded]],
      ),
    },
    {
      name: 'klinekeep_runs_of_a_day',
      help: 'Runs of the last 24 hours by outcome.',
      samples: dayRuns.map(({ verb, outcome, count }) => [{ verb, outcome }, count]),
    },
    {
      name: 'klinekeep_request_weight',
      help: "Request weight spent in Binance's current minute.",
      samples: weights,
    },
  ];
  return metrics.map(formatMetric).join('');
}

/** What all scripts together spent in this minute of the exchange's clock, which may be ahead of ours. */
async function spentWeights(sql: postgres.Sql): Promise<Metric['samples']> {
  // The table is unlogged, so it cannot be read on a standby.
  const [server] = await sql`select pg_is_in_recovery() as is_standby`;
  if (server?.is_standby) return [];
  const rows = await sql`
    select market, case when minute > now() - interval '1 minute' then spent else 0 end as spent
    from request_budget
    order by market`;
  return rows.map((row) => [{ market: row.market }, row.spent]);
}

function formatMetric({ name, help, samples }: Metric): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `${name}${formatLabels(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`;
}

function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
