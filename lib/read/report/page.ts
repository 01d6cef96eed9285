import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { DAY_MS, formatBytes, formatCount, formatShort, PROJECT_DIR } from '../../base/mod.ts';
import type { ReportData, ReportSeries } from './data.ts';
import { escapeHtml } from './html.ts';
import { formatArchiveRuns, formatRuns } from './run-tables.ts';
import { formatTiles } from './tiles.ts';

/** The package does not export this file, the one that needs no module loader. */
const CHART_LIBRARY =
  'node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.js';

/** Formats the report as one HTML file that needs no other file and no network. */
export function formatReport(data: ReportData): string {
  const { series } = data;
  const instruments = `${formatCount(series.length)} ${series.length === 1 ? 'symbol' : 'symbols'}`;
  return fill(readPart('report.html'), {
    title: escapeHtml(`${instruments}, ${formatShort(data.madeAtMs)}`),
    style: `<style>${readPart('report.css')}</style>`,
    summary: escapeHtml(`${instruments}, as of ${formatShort(data.madeAtMs)} UTC`),
    tiles: formatTiles(series),
    symbolOptions: series
      .map(
        ({ status }, index) =>
          `<option value="${index}">${escapeHtml(status.instrument.symbol)}</option>`,
      )
      .join(''),
    chartEmpty: series.length === 0 ? 'Nothing is stored yet.' : '',
    range: `${formatShort(data.window.fromMs)} to ${formatShort(data.window.toMs - DAY_MS)}`,
    legend: formatLegend(),
    rows:
      series.length === 0
        ? '<tr><td colspan="7">Nothing is stored yet.</td></tr>'
        : series.map(formatMapRow).join('\n'),
    sampledNote: formatSampledNote(series),
    archiveRuns: formatArchiveRuns(data.archiveRuns),
    runs: formatRuns(data.runs),
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
    if (part === undefined) throw new Error(`report.html needs a value for "${name}".`);
    return part;
  });
}

/** The data for the script of the page; compressed, because 500 symbols are a megabyte. */
function packForBrowser({ window, series }: ReportData): string {
  const packed = {
    firstMs: window.fromMs,
    days: (window.toMs - window.fromMs) / DAY_MS,
    series: series.map(({ status, series: each, coverage, sampled = null, chart = null }) => {
      const { runs, incomplete } = coverage;
      const { interval } = each;
      const name = status.instrument.symbol;
      return { name, interval, runs, incomplete, sampled, boundaryMs: archiveEnd(each), chart };
    }),
  };
  return gzipSync(JSON.stringify(packed), { level: 9 }).toString('base64');
}

/** Candles before this are archived; null: none is. */
function archiveEnd({ archived, hot }: ReportSeries['series']): number | null {
  if (!archived) return null;
  return hot ? Math.max(hot.fromMs, archived.fromMs) : archived.toMs;
}

function formatLegend(): string {
  return [
    ['complete', 'complete, in the main table'],
    ['archived', 'complete, archived'],
    ['outage', 'outage: the exchange does not have the rest'],
    ['missing', 'missing'],
    ['nothing', 'before the first candle, or after the last of a delisted symbol'],
  ]
    .map(([key, text]) => `<li><span class="key ${key}"></span>${text}</li>`)
    .join('');
}

function formatMapRow({ status, series, coverage, sampled }: ReportSeries): string {
  const { symbol } = status.instrument;
  const { counts } = coverage;
  const missing = counts.m + counts.x;
  const size = formatBytes(status.bytes.hot + status.bytes.archive);
  return `<tr><th scope="row"><button type="button" tabindex="-1" title="Draw the chart">${escapeHtml(symbol)}</button></th><td class="every">${series.interval}${sampled ? '*' : ''}</td><td class="strip"></td><td class="number${missing > 0 ? ' bad' : ''}">${formatCount(missing)}</td><td class="number wide">${formatCount(counts.o)}</td><td class="number wide">${formatCount(counts.a)}</td><td class="number wide">${size}</td></tr>`;
}

function formatSampledNote(series: readonly ReportSeries[]): string {
  const moments = series.find((each) => each.sampled)?.sampled;
  if (!moments) return '';
  return `<p class="note">* Too many candles to count in one report: for these symbols ${moments} ${moments === 1 ? 'moment' : 'moments'} of each day were checked, so a gap between them does not show. verify finds every gap, and a report of fewer symbols counts every candle.</p>`;
}
