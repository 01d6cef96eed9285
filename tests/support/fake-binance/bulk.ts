import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addMonths, DAY_MS, startOfMonth, toUtc } from '../../../lib/base/time.ts';
import type { Interval } from '../../../lib/market/intervals.ts';
import type { Market } from '../../../lib/market/symbols.ts';
import type { RawRow } from './candles.ts';
import type { FakeBinance } from './server.ts';
import { makeZip, type ZipMember } from './zip.ts';

/** The files of data.binance.vision, by path below `/data/`. */
export class BulkFiles {
  private readonly made = new Map<string, Buffer>();
  private readonly root: string | undefined;
  /** The number of files whose connection is closed after the first half. */
  cuts = 0;

  /** @param root a folder laid out the same way; published files hide those in it */
  constructor(root: string | undefined) {
    this.root = root;
  }

  get(path: string): Buffer | undefined {
    const made = this.made.get(path);
    if (made) return made;
    const file = this.root && join(this.root, path);
    return file && existsSync(file) ? readFileSync(file) : undefined;
  }

  put(path: string, zip: Buffer, sha256 = createHash('sha256').update(zip).digest('hex')): void {
    this.made.set(path, zip);
    this.made.set(`${path}.CHECKSUM`, Buffer.from(`${sha256}  ${path.split('/').at(-1)}`));
  }

  /** Leaves the file without its checksum, or the checksum without its file. */
  removeOnly(path: string): void {
    this.made.delete(path);
  }

  remove(path: string): void {
    this.made.delete(path);
    this.made.delete(`${path}.CHECKSUM`);
  }
}

export interface BulkOptions {
  market?: Market;
  symbol?: string;
  interval?: Interval;
  header?: boolean;
  /** Times in µs, as in spot files since 2025. */
  micros?: boolean;
  /** Changes the rows before they are written. */
  edit?: (rows: RawRow[]) => RawRow[];
  /** Changes the text of the CSV. */
  text?: (csv: string) => string;
  /** Changes the zip's members. */
  members?: (members: ZipMember[]) => ZipMember[];
}

/**
 * Publishes the file of a month (`2024-01`) or a day (`2024-01-15`) with the fake's own candles.
 * @returns its path below `/data/`
 */
export async function publish(
  fake: FakeBinance,
  date: string,
  options: BulkOptions = {},
): Promise<string> {
  const {
    market = 'spot',
    symbol = 'BTCUSDT',
    interval = '1h',
    header,
    micros,
    edit,
    text = (csv) => csv,
    members,
  } = options;
  const fromMs = Date.parse(date);
  const isMonth = date.length === 7;
  const toMs = isMonth ? addMonths(startOfMonth(toUtc(fromMs)), 1).getTime() : fromMs + DAY_MS;
  let rows = await fake.candles(market, symbol, interval, fromMs, toMs - 1);
  if (edit) rows = edit(rows);
  const csv = rows
    .map((row) => (micros ? row.with(0, `${row[0]}000`).with(6, `${row[6]}999`) : row).join(','))
    .join('\n');
  const head = header
    ? 'open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n'
    : '';
  const width = interval === '1M' ? '1mo' : interval;
  const name = `${symbol}-${width}-${date}`;
  const member = { name: `${name}.csv`, content: Buffer.from(text(`${head}${csv}\n`)) };
  const zip = makeZip(members ? members([member]) : [member]);
  const folder = market === 'spot' ? 'spot' : 'futures/um';
  const path = `${folder}/${isMonth ? 'monthly' : 'daily'}/klines/${symbol}/${width}/${name}.zip`;
  fake.bulk.put(path, zip);
  return path;
}
