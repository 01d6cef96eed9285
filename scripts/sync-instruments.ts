import { z } from '../lib/base/mod.ts';
import { type Context, flag, main, marketOption, type Script } from '../lib/cli/mod.ts';
import { type SyncChanges, syncMarket } from '../lib/download/mod.ts';
import type { Market } from '../lib/market/mod.ts';
import { listInstruments } from '../lib/store/mod.ts';

interface Options {
  market?: Market | undefined;
  quote?: string | undefined;
  'dry-run': boolean;
}

/** Syncs one market after the other: the given one, or else those that have instruments. */
export async function syncInstruments(options: Options, context: Context): Promise<SyncChanges[]> {
  const { sql } = await context.database();
  const source = await context.rest();
  const markets = options.market
    ? [options.market]
    : new Set((await listInstruments(sql)).map((instrument) => instrument.market));
  const changes: SyncChanges[] = [];
  for (const market of markets) {
    changes.push(
      await syncMarket(sql, source, market, {
        register: options.market && { quote: options.quote },
        dryRun: options['dry-run'],
      }),
    );
  }
  return changes;
}

export const script: Script<Options> = {
  name: 'sync',
  summary: 'Register the symbols of a market, or refresh which registered symbols are traded',
  examples: ['', '--market usdm', '--market spot --quote USDT', '--market spot --dry-run'],
  args: {
    market: {
      type: 'string',
      description: 'Register every active symbol of this market: spot, or usdm (perpetuals)',
    },
    quote: {
      type: 'string',
      description: 'With --market: only symbols with this quote asset, such as USDT',
    },
    'dry-run': { type: 'boolean', description: 'Show what would change, but change nothing' },
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
        '--quote is given without --market; wanted both, or neither to refresh what is registered',
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
