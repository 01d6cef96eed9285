import type postgres from 'postgres';
import { addSteps } from '../market/mod.ts';
import { runSql } from '../postgres/mod.ts';
import { lastRuns, listInstruments } from '../store/mod.ts';
import { storeStatus } from './status.ts';

type Labels = Record<string, string>;

interface Metric {
  name: string;
  help: string;
  samples: [labels: Labels, value: number][];
}

/** Every number that a monitor may want, in Prometheus' text format. */
export async function collectMetrics(sql: postgres.Sql, nowMs: number): Promise<string> {
  const [stored, runs, dayRuns, ends, rejected] = [
    await storeStatus(sql, await listInstruments(sql), nowMs),
    await lastRuns(sql),
    await runSql<{ verb: string; outcome: string; count: number }>(sql, 'read/daily_runs.sql'),
    await runSql<{ verb: string; exit_code: number; succeeded: number | null }>(
      sql,
      'read/last_ends.sql',
    ),
    await sql`select count(*)::int as count from rejected_klines`,
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
      help: 'For how long the next candle of a followed series has been closed.',
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
      help: 'Stored candles, from first and last one: nothing is counted.',
      samples: series.flatMap(({ labels, each }): Metric['samples'] => [
        [{ ...labels, tier: 'hot' }, each.rows.hot],
        [{ ...labels, tier: 'archive' }, each.rows.archive],
      ]),
    },
    {
      name: 'klinekeep_confirmed_gap_candles',
      help: 'Candles that the exchange was asked for and does not have.',
      samples: series.map(({ labels, each }) => [labels, each.gapCandles]),
    },
    {
      name: 'klinekeep_table_bytes',
      help: 'Tables and indexes of an instrument, as of their last VACUUM or ANALYZE.',
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
      help: 'What a source sent that is no candle.',
      samples: [[{}, rejected[0]?.count]],
    },
    {
      name: 'klinekeep_run_start_timestamp_seconds',
      help: 'When the last run of a script began.',
      samples: runs.map((run) => [{ verb: run.verb }, run.startedMs / 1000]),
    },
    {
      name: 'klinekeep_run_exit_code',
      help: 'Exit code of the last run of a script that ended by itself.',
      samples: ends.map(({ verb, exit_code }) => [{ verb }, exit_code]),
    },
    {
      name: 'klinekeep_run_success_timestamp_seconds',
      help: 'When a script last ended with 0.',
      samples: ends.flatMap(({ verb, succeeded }): Metric['samples'] =>
        succeeded === null ? [] : [[{ verb }, succeeded]],
      ),
    },
    {
      name: 'klinekeep_runs_of_a_day',
      help: 'Runs that began in the last 24 hours, by how they ended.',
      samples: dayRuns.map(({ verb, outcome, count }) => [{ verb, outcome }, count]),
    },
  ];
  return metrics.map(render).join('');
}

function render({ name, help, samples }: Metric): string {
  if (samples.length === 0) return '';
  const lines = samples.map(([labels, value]) => `${name}${renderLabels(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('')}`;
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
