import { z } from '../lib/base/mod.ts';
import { type Context, flag, main, marketOption, type Script } from '../lib/cli/mod.ts';
import { applySync, planSync, type SyncChanges } from '../lib/download/mod.ts';
import type { Market } from '../lib/market/mod.ts';
import { listInstruments } from '../lib/store/mod.ts';

interface Options {
  market?: Market | undefined;
  quote?: string | undefined;
  'dry-run': boolean;
}

/** Compares the registry with exchangeInfo, one market after the other. */
export async function syncInstruments(options: Options, context: Context) {
  const { sql } = await context.database();
  const source = await context.rest();
  const registered = await listInstruments(sql);
  const markets = options.market
    ? [options.market]
    : [...new Set(registered.map((each) => each.market))];

  const changes: (SyncChanges & { market: Market; active: number })[] = [];
  for (const market of markets) {
    const listed = await source.symbols(market);
    const exchangeTimeMs = await source.serverTimeMs(market);
    const ours = registered.filter((instrument) => instrument.market === market);
    const plan = planSync(ours, listed, options.market && { quote: options.quote });
    if (!options['dry-run']) await sql.begin((tx) => applySync(tx, market, plan, exchangeTimeMs));
    const { registered: added, delisted, relisted } = plan.changes;
    const wasActive = ours.filter((instrument) => instrument.status === 'active').length;
    changes.push({
      market,
      ...plan.changes,
      active: wasActive + added.length + relisted.length - delisted.length,
    });
  }
  return changes;
}

export const script: Script<Options> = {
  name: 'sync',
  summary:
    'Keeps the registry of symbols: registers those of a market, or refreshes which are still traded',
  examples: ['', '--market usdm', '--market spot --quote USDT', '--market spot --dry-run'],
  args: {
    market: {
      type: 'string',
      description: 'Register every active symbol of this market: spot, or usdm (perpetuals)',
    },
    quote: { type: 'string', description: 'With --market: only symbols of this quote, e.g. USDT' },
    'dry-run': { type: 'boolean', description: 'Report what would change, and change nothing' },
  },
  options: z
    .object({
      market: marketOption.optional(),
      quote: z
        .string()
        .regex(/^[^\s/:]+$/, 'an asset such as USDT')
        .transform((quote) => quote.toUpperCase())
        .optional(),
      'dry-run': flag,
    })
    .refine((options) => options.quote === undefined || options.market !== undefined, {
      message:
        '!--quote is given without --market; wanted both, or neither to refresh what is registered',
    }),
  writes: (options) => !options['dry-run'],
  async run(options, context) {
    const changes = await syncInstruments(options, context);
    const would = options['dry-run'] ? 'would be ' : '';
    const lines = changes.map(
      ({ market, active, registered, delisted, relisted }) =>
        `${market}: ${registered.length} ${would}registered, ${relisted.length} ${would}active again, ` +
        `${delisted.length} ${would}delisted${formatNames(delisted)}; ${active} active`,
    );
    return {
      json: { dryRun: options['dry-run'], markets: changes },
      text:
        lines.join('\n') ||
        'Nothing is registered yet: --market spot or --market usdm registers a market.',
    };
  },
};

function formatNames(symbols: readonly string[]): string {
  if (symbols.length === 0) return '';
  return ` (${symbols.slice(0, 10).join(', ')}${symbols.length > 10 ? ', …' : ''})`;
}

await main(import.meta, script);
