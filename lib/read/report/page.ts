import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import {
  DAY_MS,
  formatBytes,
  formatCount,
  formatDuration,
  formatRough,
  formatShort,
  PROJECT_DIR,
} from '../../base/mod.ts';
import type { Run } from '../../store/mod.ts';
import type { DayState } from './coverage.ts';
import type { ArchiveRun, ReportData, ReportSeries } from './data.ts';

/** Not among what the package exports, and the one that needs no module loader. */
const CHART_LIBRARY =
  'node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.js';

/** The report as one HTML file that needs nothing else, no network either. */
export function renderReport(data: ReportData): string {
  const { series } = data;
  const instruments = `${formatCount(series.length)} ${series.length === 1 ? 'symbol' : 'symbols'}`;
  return fill(readPart('report.html'), {
    title: escapeHtml(`${instruments}, ${formatShort(data.madeAtMs)}`),
    style: `<style>${readPart('report.css')}</style>`,
    summary: escapeHtml(`${instruments}, as of ${formatShort(data.madeAtMs)} UTC`),
    tiles: tiles(data),
    symbolOptions: series
      .map(
        ({ status }, index) =>
          `<option value="${index}">${escapeHtml(status.instrument.symbol)}</option>`,
      )
      .join(''),
    chartEmpty: series.length === 0 ? 'Nothing is stored yet, so there is nothing to draw.' : '',
    range: `${formatShort(data.window.fromMs)} to ${formatShort(data.window.toMs - DAY_MS)}`,
    legend: legend(),
    rows:
      series.length === 0
        ? '<tr><td colspan="7">Nothing is stored yet.</td></tr>'
        : series.map(mapRow).join('\n'),
    sampledNote: sampledNote(series),
    archiveRuns: archiveRunsTable(data.archiveRuns),
    runs: runsTable(data.runs),
    data: packForBrowser(data),
    scripts: `<script>${readChartLibrary()}</script>\n<script>${readPart('report.js')}</script>`,
  });
}

function readPart(name: string): string {
  return readFileSync(fileURLToPath(new URL(`page/${name}`, import.meta.url)), 'utf8').trim();
}

function readChartLibrary(): string {
  return readFileSync(resolve(PROJECT_DIR, CHART_LIBRARY), 'utf8').replaceAll(
    '</script',
    '<\\/script',
  );
}

function fill(template: string, parts: Record<string, string>): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`report.html wants a value for "${name}"`);
    return part;
  });
}

/** What the script on the page reads; compressed, since 500 symbols are a megabyte. */
function packForBrowser({ window, series }: ReportData): string {
  const packed = {
    firstMs: window.fromMs,
    days: (window.toMs - window.fromMs) / DAY_MS,
    series: series.map(({ status, series: each, coverage, sampled, chart }) => ({
      name: status.instrument.symbol,
      interval: each.interval,
      runs: coverage.runs,
      lacking: coverage.lacking,
      sampled: sampled ?? null,
      boundaryMs: boundaryOf(each),
      chart: chart ?? null,
    })),
  };
  return gzipSync(JSON.stringify(packed), { level: 9 }).toString('base64');
}

/** Where the archive ends: candles before this are archived. */
function boundaryOf({ archived, hot }: ReportSeries['series']): number | null {
  if (!archived) return null;
  return hot ? Math.max(hot.fromMs, archived.fromMs) : archived.toMs;
}

function tiles({ series }: ReportData): string {
  const sum = (read: (each: ReportSeries) => number) =>
    series.reduce((all, each) => all + read(each), 0);
  const bytes = {
    hot: sum((each) => each.status.bytes.hot),
    archive: sum((each) => each.status.bytes.archive),
  };
  const allSeries = series.flatMap((each) => each.status.series);
  const rows = {
    hot: allSeries.reduce((all, each) => all + each.rows.hot, 0),
    archive: allSeries.reduce((all, each) => all + each.rows.archive, 0),
  };
  const days = (states: DayState[]) =>
    sum((each) => states.reduce((all, state) => all + each.coverage.counts[state], 0));
  const missing = days(['m', 'x']);
  const expected = days(['c', 'a', 'o', 'm', 'x']);
  const share = expected === 0 ? '–' : `${floorPercent(expected - missing, expected)} %`;
  return [
    tile(
      'Candles stored',
      `~${formatRough(rows.hot + rows.archive)}`,
      `~${formatRough(rows.hot)} in the main tables, ~${formatRough(rows.archive)} archived`,
      tierBar(rows),
    ),
    tile(
      'On disk',
      formatBytes(bytes.hot + bytes.archive),
      `${formatBytes(bytes.hot)} in the main tables, ${formatBytes(bytes.archive)} archived`,
      tierBar(bytes),
    ),
    tile(
      'Days in order',
      share,
      `${formatCount(missing)} of ${formatCount(expected)} days lack candles that may exist`,
    ),
    tile('Outage days', formatCount(days(['o'])), 'lack only what the exchange does not have'),
  ].join('\n');
}

/** 99.99 of 100 is not 100. */
function floorPercent(part: number, whole: number): string {
  return String(Math.floor((part / whole) * 1000) / 10);
}

function tile(name: string, value: string, more: string, bar = ''): string {
  return `<div class="tile"><div class="name">${escapeHtml(name)}</div><div class="value">${escapeHtml(value)}</div>${bar}<div class="more">${escapeHtml(more)}</div></div>`;
}

function tierBar({ hot, archive }: { hot: number; archive: number }): string {
  if (hot + archive === 0) return '';
  return `<div class="tiers" aria-hidden="true"><span class="archive" style="flex-grow:${Math.round(archive)}"></span><span class="hot" style="flex-grow:${Math.round(hot)}"></span></div>`;
}

function legend(): string {
  return [
    ['complete', 'complete, in the main table'],
    ['archived', 'complete, archived'],
    ['outage', 'outage: the exchange has no more'],
    ['missing', 'missing'],
    ['nothing', 'before the first candle, or after the last of a delisted symbol'],
  ]
    .map(([key, text]) => `<li><span class="key ${key}"></span>${text}</li>`)
    .join('');
}

function mapRow({ status, series, coverage, sampled }: ReportSeries): string {
  const { symbol } = status.instrument;
  const { counts } = coverage;
  const missing = counts.m + counts.x;
  const size = formatBytes(status.bytes.hot + status.bytes.archive);
  return `<tr><th scope="row"><button type="button" tabindex="-1" title="Draw the chart">${escapeHtml(symbol)}</button></th><td class="every">${series.interval}${sampled ? '*' : ''}</td><td class="strip"></td><td class="number${missing > 0 ? ' bad' : ''}">${formatCount(missing)}</td><td class="number wide">${formatCount(counts.o)}</td><td class="number wide">${formatCount(counts.a)}</td><td class="number wide">${size}</td></tr>`;
}

function sampledNote(series: readonly ReportSeries[]): string {
  const moments = series.find((each) => each.sampled)?.sampled;
  if (!moments) return '';
  return `<p class="note">* Too many candles to count in one report: of these symbols ${moments} ${moments === 1 ? 'moment' : 'moments'} of each day were looked at, so a hole between them does not show. verify finds every one, and a report of few symbols counts them all.</p>`;
}

function archiveRunsTable(runs: readonly ArchiveRun[]): string {
  if (runs.length === 0) return '<p class="note">Nothing has been archived yet.</p>';
  const rows = runs.map((run) => [
    cell(formatShort(run.startedMs)),
    cell(tookOf(run), 'wide'),
    cell(run.host, 'wide'),
    cell(showMove(run)),
    cell(formatCount(run.movedRows), 'number'),
    outcomeCell(run.outcome ?? 'running, or killed', run.outcome === 'done'),
  ]);
  return table(['Began', '-Took', '-On', 'What', '#Moved', 'Outcome'], rows);
}

function runsTable(runs: readonly Run[]): string {
  if (runs.length === 0) return '<p class="note">No run is known yet.</p>';
  const rows = runs.map((run) => {
    const text = [run.outcome ?? 'running, or killed', run.message].filter(Boolean).join(': ');
    return [
      cell(run.verb),
      cell(formatShort(run.startedMs)),
      cell(tookOf(run), 'wide'),
      cell(run.host, 'wide'),
      outcomeCell(text, run.exitCode === 0),
    ];
  });
  return table(['Script', 'Began', '-Took', '-On', 'Outcome'], rows);
}

/** A heading that begins with # is that of numbers, with - of what a narrow page leaves out. */
function table(head: readonly string[], rows: readonly string[][]): string {
  const kinds: Record<string, string> = { '#': ' class="number"', '-': ' class="wide"' };
  const cells = head.map((name) => {
    const kind = kinds[name.charAt(0)];
    return `<th scope="col"${kind ?? ''}>${kind ? name.slice(1) : name}</th>`;
  });
  const lines = rows.map((row) => `<tr>${row.join('')}</tr>`);
  return `<div class="log"><table><thead><tr>${cells.join('')}</tr></thead><tbody>${lines.join('\n')}</tbody></table></div>`;
}

function tookOf({ startedMs, finishedMs }: Pick<Run, 'startedMs' | 'finishedMs'>): string {
  return finishedMs === undefined ? '' : formatDuration(finishedMs - startedMs);
}

function cell(text: string, kind = ''): string {
  return `<td${kind ? ` class="${kind}"` : ''}>${escapeHtml(text)}</td>`;
}

function outcomeCell(text: string, isGood: boolean): string {
  return cell(text, isGood ? 'message' : 'message bad');
}

function escapeHtml(text: string): string {
  const names: Record<string, string> = {
    '&': 'amp',
    '<': 'lt',
    '>': 'gt',
    '"': 'quot',
    "'": '#39',
  };
  return text.replaceAll(/[&<>"']/g, (character) => `&${names[character]};`);
}

function showMove({ verb, fromMs, toMs }: ArchiveRun): string {
  const from = fromMs === undefined ? '' : ` from ${formatShort(fromMs)}`;
  const to = toMs === undefined ? '' : ` to ${formatShort(toMs)}`;
  return `${verb}${from}${to}`;
}
