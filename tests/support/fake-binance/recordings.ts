import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import yauzl from 'yauzl';
import type { Interval } from '../../../lib/market/intervals.ts';
import type { Market } from '../../../lib/market/symbols.ts';
import type { RawRow } from './candles.ts';

const FOLDERS: Record<Market, string> = { spot: 'spot', usdm: 'futures/um' };

/** Candles recorded from Binance, in a folder laid out like data.binance.vision. */
export class Recordings {
  private readonly root: string;
  private readonly cache = new Map<string, Promise<RawRow[]>>();

  constructor(root: string) {
    this.root = root;
  }

  symbols(market: Market): string[] {
    return [...new Set(this.places(market).flatMap((place) => readdirSync(place)))];
  }

  /** Every recorded candle of the series, oldest first. */
  rows(market: Market, symbol: string, interval: Interval): Promise<RawRow[]> {
    const key = `${market} ${symbol} ${interval}`;
    let rows = this.cache.get(key);
    if (!rows) {
      rows = this.read(market, symbol, interval);
      this.cache.set(key, rows);
    }
    return rows;
  }

  private places(market: Market): string[] {
    return ['daily', 'monthly']
      .map((period) => join(this.root, FOLDERS[market], period, 'klines'))
      .filter((place) => existsSync(place));
  }

  private async read(market: Market, symbol: string, interval: Interval): Promise<RawRow[]> {
    const byTime = new Map<number, RawRow>();
    for (const place of this.places(market)) {
      const folder = join(place, symbol, interval);
      if (!existsSync(folder)) continue;
      for (const name of readdirSync(folder).filter((each) => each.endsWith('.zip'))) {
        for (const row of parseCsv(await readZip(join(folder, name)))) byTime.set(row[0], row);
      }
    }
    return [...byTime.values()].sort((a, b) => a[0] - b[0]);
  }
}

async function readZip(path: string): Promise<string> {
  const zip = await promisify<string, yauzl.Options, yauzl.ZipFile>(yauzl.open)(path, {
    lazyEntries: true,
  });
  return await new Promise((settle, reject) => {
    zip.on('error', reject);
    zip.on('entry', (entry) =>
      zip.openReadStream(entry, (error, stream) => (error ? reject(error) : settle(text(stream)))),
    );
    zip.readEntry();
  });
}

function parseCsv(csv: string): RawRow[] {
  return csv
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => {
      const [open, o, h, l, c, v, close, qv, trades, tv, tqv, ignore] = line
        .trim()
        .split(',') as string[];
      return [
        toMs(open!),
        o!,
        h!,
        l!,
        c!,
        v!,
        toMs(close!),
        qv!,
        Number(trades),
        tv!,
        tqv!,
        ignore!,
      ];
    });
}

/** Spot files have microseconds since 2025. */
function toMs(time: string): number {
  return Number(time.length > 14 ? time.slice(0, -3) : time);
}
