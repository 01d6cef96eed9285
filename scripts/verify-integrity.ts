import { main, type Script } from '../lib/cli.ts';
import type { Context } from '../lib/context.ts';
import { EXIT } from '../lib/errors.ts';
import { chooseInstruments } from '../lib/instruments.ts';
import { checkArchiveShape, checkSeries, type Finding } from '../lib/integrity.ts';
import { CHOICE_ARGS, type Choice, choiceOptions, readChoice } from '../lib/options.ts';
import { storedSeries } from '../lib/series.ts';
import { formatCount, formatTable } from '../lib/table.ts';
import { z } from '../lib/zod.ts';

/** Checks every stored series, one after the other. Changes nothing. */
export async function verifyIntegrity(options: Choice, context: Context) {
  const { sql } = await context.database();
  const instruments = await chooseInstruments(sql, options);
  const findings: Finding[] = [];
  let series = 0;
  context.progress.start(instruments.length, 'instruments');
  for (const instrument of instruments) {
    context.signal.throwIfAborted();
    findings.push(...(await checkArchiveShape(sql, instrument)));
    for (const stored of await storedSeries(
      sql,
      instrument,
      options.interval && [options.interval],
    )) {
      findings.push(...(await checkSeries(sql, { instrument, interval: stored.interval }, stored)));
      series += 1;
    }
    context.progress.advance(1, instrument.symbol);
  }
  context.progress.stop();
  return { series, findings: findings.sort((a, b) => b.count - a.count) };
}

export const script: Script<Choice> = {
  name: 'verify-integrity',
  summary:
    'Is every candle there, once, closed and possible? Changes nothing; exits 2 when something is not',
  examples: ['', '--symbol BTC/USDT --interval 1m', '--json'],
  args: CHOICE_ARGS,
  options: z.object(choiceOptions).transform(readChoice),
  async run(options, context) {
    const { series, findings } = await verifyIntegrity(options, context);
    const text =
      findings.length === 0
        ? `${formatCount(series)} series: nothing missing, nothing twice, nothing impossible`
        : `${formatCount(series)} series, ${findings.length} findings:\n\n${showFindings(findings)}`;
    return {
      exitCode: findings.length > 0 ? EXIT.findings : EXIT.done,
      json: { series, findings },
      text,
    };
  },
};

function showFindings(findings: readonly Finding[]): string {
  const rows = findings.map((finding) => [
    finding.symbol,
    finding.interval,
    finding.check,
    finding.count,
    `${finding.examples[0]}${finding.examples.length > 1 ? ', …' : ''}`,
  ]);
  return formatTable(['symbol', 'interval', 'check', 'count', 'first'], rows);
}

await main(import.meta, script);
