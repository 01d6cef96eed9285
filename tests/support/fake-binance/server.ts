import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  addSteps,
  ceilToGrid,
  floorToGrid,
  type Interval,
  isInterval,
} from '../../../lib/market/intervals.ts';
import type { Market } from '../../../lib/market/symbols.ts';
import { BulkFiles } from './bulk.ts';
import { MadeUpCandles, type RawRow } from './candles.ts';
import { answerWithFault, type Fault, Faults, send } from './faults.ts';
import { Recordings } from './recordings.ts';
import { defaultSymbols, type FakeSymbol, toExchangeInfo } from './symbols.ts';
import { requestWeight, Weights } from './weights.ts';

export interface FakeOptions {
  port?: number;
  /** The exchange's clock, Unix ms. Default: this machine's. */
  nowMs?: number;
  latencyMs?: number;
  /** A folder laid out like data.binance.vision: its candles instead of made-up ones. */
  recordings?: string;
  symbols?: FakeSymbol[];
}

export interface LoggedRequest {
  market: Market;
  path: string;
  symbol: string | undefined;
  interval: string | undefined;
  startTime: number | undefined;
  endTime: number | undefined;
  limit: number;
  status: number;
}

const MAX_LIMIT: Record<Market, number> = { spot: 1000, usdm: 1500 };
const LISTED_MS = Date.UTC(2019, 0, 1);

/** Binance's REST interface for candles and its bulk files, both markets, on a local port. */
export class FakeBinance {
  url = '';
  /** The exchange's clock, Unix ms. Undefined: this machine's clock. */
  nowMs: number | undefined;
  symbols: FakeSymbol[];
  latencyMs: number;
  readonly faults = new Faults();
  readonly weights: Record<Market, Weights> = {
    spot: new Weights('spot'),
    usdm: new Weights('usdm'),
  };
  requests: LoggedRequest[] = [];
  readonly bulk: BulkFiles;
  /** Changes to single candles, by open time. */
  readonly oddities = new Map<number, (row: RawRow) => RawRow>();
  private readonly recordings: Recordings | undefined;
  private readonly generators = new Map<string, MadeUpCandles>();
  private readonly revised = new Map<string, number>();
  private readonly server = createServer(
    (request, response) => void this.answer(request, response),
  );

  constructor(options: FakeOptions = {}) {
    this.nowMs = options.nowMs;
    this.latencyMs = options.latencyMs ?? 0;
    this.recordings = options.recordings ? new Recordings(options.recordings) : undefined;
    this.bulk = new BulkFiles(options.recordings);
    this.symbols = options.symbols ?? this.recordedSymbols() ?? defaultSymbols();
  }

  async listen(port = 0): Promise<this> {
    // A busy machine must not close a connection while a request is on its way.
    this.server.keepAliveTimeout = 60_000;
    await new Promise<void>((settle) => this.server.listen(port, '127.0.0.1', settle));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((settle) => this.server.close(settle));
  }

  fail(fault: Fault): void {
    this.faults.add(fault);
  }

  /** Changes the volume of a candle, as if the exchange had corrected it. */
  revise(market: Market, symbol: string, openMs: number): void {
    const key = `${market} ${symbol} ${openMs}`;
    this.revised.set(key, (this.revised.get(key) ?? 0) + 1);
  }

  /** Names of the requested bulk files, without their checksums. */
  fileRequests(): string[] {
    const names = this.requests
      .filter((each) => each.path === 'file')
      .map((each) => each.symbol ?? '');
    return names.filter((name) => !name.endsWith('.CHECKSUM'));
  }

  klinesRequests(): LoggedRequest[] {
    return this.requests.filter((request) => request.path === 'klines');
  }

  /** The environment variables that direct a script to this server. */
  get env(): Record<string, string> {
    return { BINANCE_SPOT_URL: this.url, BINANCE_USDM_URL: this.url, BINANCE_BULK_URL: this.url };
  }

  /** Candles that open from `fromMs` to `toMs`, both inclusive, and the forming one. */
  async candles(
    market: Market,
    symbol: string,
    interval: Interval,
    fromMs: number,
    toMs: number,
    most = Number.POSITIVE_INFINITY,
  ): Promise<RawRow[]> {
    const nowMs = this.now();
    const known = this.symbols.find((each) => each.market === market && each.symbol === symbol);
    if (!known) return [];
    if (this.recordings) {
      const rows = await this.recordings.rows(market, symbol, interval);
      return rows
        .filter((row) => row[0] >= fromMs && row[0] <= Math.min(toMs, nowMs))
        .slice(0, most);
    }
    const generator = this.generatorFor(known);
    const rows: RawRow[] = [];
    const firstMs = Math.max(fromMs, floorToGrid(interval, known.listedMs ?? LISTED_MS));
    const lastMs = Math.min(toMs, nowMs, (known.endedMs ?? Number.POSITIVE_INFINITY) - 1);
    for (
      let openMs = ceilToGrid(interval, firstMs);
      openMs <= lastMs && rows.length < most;
      openMs = addSteps(interval, openMs, 1)
    ) {
      if (known.gaps?.some((gap) => openMs >= gap.fromMs && openMs < gap.toMs)) continue;
      const revision = this.revised.get(`${market} ${symbol} ${openMs}`);
      const row = generator.candle(interval, openMs, nowMs, revision);
      rows.push(this.oddities.get(openMs)?.(row) ?? row);
    }
    return rows;
  }

  private now(): number {
    return this.nowMs ?? Date.now();
  }

  private recordedSymbols(): FakeSymbol[] | undefined {
    const { recordings } = this;
    if (!recordings) return undefined;
    return (['spot', 'usdm'] as const).flatMap((market) =>
      recordings
        .symbols(market)
        .map((symbol) => ({ market, symbol, base: symbol.replace(/USDT$/, ''), quote: 'USDT' })),
    );
  }

  private generatorFor(symbol: FakeSymbol): MadeUpCandles {
    const key = `${symbol.market} ${symbol.symbol}`;
    let generator = this.generators.get(key);
    if (!generator) {
      generator = new MadeUpCandles(key, symbol.basePrice);
      this.generators.set(key, generator);
    }
    return generator;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname.startsWith('/data/'))
      return this.answerFile(decodeURI(pathname.slice(6)), response);
    const route = /^\/(api\/v3|fapi\/v1)\/(klines|exchangeInfo|time)$/.exec(pathname);
    if (!route) return send(response, 404, { code: 404, msg: 'Not found' });
    const market: Market = route[1] === 'api/v3' ? 'spot' : 'usdm';
    const path = route[2]!;
    const number = (name: string) =>
      searchParams.has(name) ? Number(searchParams.get(name)) : undefined;
    const limit = Math.min(number('limit') ?? 500, MAX_LIMIT[market]);
    const logged: LoggedRequest = {
      market,
      path,
      symbol: searchParams.get('symbol') ?? undefined,
      interval: searchParams.get('interval') ?? undefined,
      startTime: number('startTime'),
      endTime: number('endTime'),
      limit,
      status: 0,
    };
    this.requests.push(logged);
    response.on('close', () => {
      logged.status = response.statusCode;
    });

    const limitation = this.weights[market].spend(requestWeight(market, path, limit), Date.now());
    response.setHeader('x-mbx-used-weight-1m', this.weights[market].used);
    if (this.latencyMs > 0) await sleep(this.latencyMs);
    if (limitation.status !== 200) {
      response.setHeader('retry-after', limitation.retryAfterS);
      return send(response, limitation.status, { code: -1003, msg: 'Way too many requests.' });
    }
    const fault = this.faults.take(logged);
    if (fault) {
      answerWithFault(fault, response, await this.rowsFor(logged));
      return;
    }
    if (path === 'time') return send(response, 200, { serverTime: this.now() });
    if (path === 'exchangeInfo') return this.answerExchangeInfo(logged, response);
    await this.answerKlines(logged, response);
  }

  private answerFile(path: string, response: ServerResponse): void {
    const market: Market = path.startsWith('spot/') ? 'spot' : 'usdm';
    const symbol = path.split('/').at(-1);
    const logged = {
      market,
      path: 'file',
      symbol,
      interval: undefined,
      startTime: undefined,
      endTime: undefined,
    };
    const fault = this.faults.take({ market, path: 'file', symbol });
    const content = this.bulk.get(path);
    this.requests.push({ ...logged, limit: 0, status: content ? 200 : 404 });
    if (fault && answerWithFault(fault, response, [])) return;
    response.writeHead(content ? 200 : 404, content ? { 'content-length': content.length } : {});
    if (content && !path.endsWith('.CHECKSUM') && this.bulk.cuts > 0) {
      this.bulk.cuts -= 1;
      response.write(content.subarray(0, content.length / 2), () => response.socket?.destroy());
      return;
    }
    response.end(content ?? 'no such file');
  }

  private answerExchangeInfo({ market, symbol }: LoggedRequest, response: ServerResponse): void {
    const listed = this.symbols.filter((each) => each.market === market);
    const found =
      market === 'spot' && symbol ? listed.filter((each) => each.symbol === symbol) : listed;
    const isUnknown = found.length === 0 && symbol !== undefined;
    if (isUnknown) send(response, 400, { code: -1121, msg: 'Invalid symbol.' });
    else
      send(response, 200, {
        timezone: 'UTC',
        serverTime: this.now(),
        symbols: found.map(toExchangeInfo),
      });
  }

  private async answerKlines(logged: LoggedRequest, response: ServerResponse): Promise<void> {
    const { market, symbol, interval, startTime, endTime } = logged;
    const refuse = (code: number, msg: string) => send(response, 400, { code, msg });
    if (!symbol || !interval) return refuse(-1102, 'Mandatory parameter was not sent.');
    const isKnown = isInterval(interval) && !(interval === '1s' && market === 'usdm');
    if (!isKnown) return refuse(-1120, 'Invalid interval.');
    if (!this.symbols.some((each) => each.market === market && each.symbol === symbol)) {
      return refuse(-1121, 'Invalid symbol.');
    }
    if (
      market === 'usdm' &&
      startTime !== undefined &&
      endTime !== undefined &&
      startTime > endTime
    ) {
      return refuse(-1023, 'Start time is greater than end time.');
    }
    send(response, 200, await this.rowsFor(logged));
  }

  private async rowsFor(logged: LoggedRequest): Promise<RawRow[]> {
    const { market, symbol, interval, startTime, endTime, limit } = logged;
    if (!symbol || !interval || !isInterval(interval)) return [];
    const toMs = endTime ?? this.now();
    if (startTime !== undefined)
      return await this.candles(market, symbol, interval, startTime, toMs, limit);
    const fromMs = addSteps(interval, floorToGrid(interval, Math.min(toMs, this.now())), 1 - limit);
    return await this.candles(market, symbol, interval, fromMs, toMs, limit);
  }
}

export async function startFakeBinance(options: FakeOptions = {}): Promise<FakeBinance> {
  return await new FakeBinance(options).listen(options.port);
}
