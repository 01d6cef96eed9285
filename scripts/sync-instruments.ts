import { type Context, defineScript, main, option } from '../lib/cli/mod.ts';
import { type SyncChanges, syncMarket } from '../lib/download/mod.ts';
import type { Market } from '../lib/market/mod.ts';
import { listInstruments } from '../lib/store/mod.ts';

interface Options {
  market?: Market | undefined;
  quote?: string | undefined;
  dryRun: boolean;
}

/** Syncs one market after the other: the given one, or else those that have instruments. */
async function syncInstruments(options: Options, context: Context): Promise<SyncChanges[]> {
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
        dryRun: options.dryRun,
      }),
    );
  }
  return changes;
}

export const script = defineScript({
  name: 'sync',
  summary: "Register a market's symbols, or refresh the trading status of the registered ones",
  examples: ['', '--market usdm', '--market spot --quote USDT', '--market spot --dry-run'],
  options: {
    market: option.market
      .optional()
      .describe('Register every active symbol of this market: spot, or usdm (perpetuals)'),
    quote: option.text
      .regex(/^[^\s/:]+$/, 'an asset such as USDT')
      .toUpperCase()
      .optional()
      .describe('With --market: only symbols with this quote asset, such as USDT'),
    dryRun: option.flag.describe('Show what would change, but change nothing'),
  },
  read(options, refuse): Options {
    if (options.quote !== undefined && options.market === undefined) {
      refuse(
        '--quote is given without --market. Expected both, or neither to refresh what is registered.',
      );
    }
    return options;
  },
  writes: ({ dryRun }) => !dryRun,
  async run(options, context) {
    const changes = await syncInstruments(options, context);
    const would = options.dryRun ? 'would be ' : '';
    const lines = changes.map(
      ({ market, active, registered, delisted, relisted }) =>
        `${market}: ${registered.length} ${would}registered, ${relisted.length} ${would}active again, ` +
        `${delisted.length} ${would}delisted${formatNames(delisted)}; ${active} active`,
    );
    return {
      json: { dryRun: options.dryRun, markets: changes },
      text:
        lines.join('\n') ||
        'Nothing is registered yet: --market spot or --market usdm registers a market.',
    };
  },
});

function formatNames(symbols: readonly string[]): string {
  if (symbols.length === 0) return '';
  return ` (${symbols.slice(0, 10).join(', ')}${symbols.length > 10 ? ', …' : ''})`;
}

await main(import.meta, script);
