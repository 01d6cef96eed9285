import type { ServerResponse } from 'node:http';
import type { Market } from '../../../lib/market/symbols.ts';
import type { RawRow } from './candles.ts';

type Kind =
  | { kind: 429 | 418; retryAfterS: number }
  | { kind: 403 | 451 | 500 | 502 | 503 }
  /** 200 with a page of HTML. */
  | { kind: 'html' }
  /** The connection is reset before an answer. */
  | { kind: 'reset' }
  /** No answer, ever. */
  | { kind: 'hang' }
  /** Half of the answer, then the connection is reset. */
  | { kind: 'cut' }
  /** 200 with an empty list. */
  | { kind: 'empty' }
  | { kind: 'invalid-symbol' }
  /** An error object, without Retry-After. */
  | { kind: 'error'; status: number; code: number; msg?: string }
  /** 200 with this text. */
  | { kind: 'body'; body: string; headers?: Record<string, string> }
  /** The right rows, damaged. */
  | { kind: 'garbage'; mutate: (rows: RawRow[]) => unknown[] };

export type Fault = Kind & {
  /** klines, exchangeInfo or time. Default: klines. */
  path?: string;
  market?: Market;
  symbol?: string;
  /** How often it happens. Default 1. */
  times?: number;
  /** Of the requests that match. Default 1. */
  probability?: number;
};

export interface Request {
  market: Market;
  path: string;
  symbol: string | undefined;
}

/** Faults to inject, in the order in which they were added. */
export class Faults {
  private readonly list: Fault[] = [];
  private random = 1;

  add(fault: Fault): void {
    this.list.push({ times: 1, ...fault });
  }

  clear(): void {
    this.list.length = 0;
  }

  /** Takes the next fault that matches a request. */
  take(request: Request): Fault | undefined {
    const fault = this.list.find(
      (each) =>
        each.times! > 0 &&
        (each.path ?? 'klines') === request.path &&
        (each.market ?? request.market) === request.market &&
        (each.symbol ?? request.symbol) === request.symbol,
    );
    if (!fault || (fault.probability !== undefined && this.draw() >= fault.probability))
      return undefined;
    fault.times! -= 1;
    return fault;
  }

  private draw(): number {
    this.random = (Math.imul(this.random, 1_103_515_245) + 12_345) >>> 0;
    return this.random / 2 ** 32;
  }
}

/** Answers with a fault. @returns false if the usual answer is to follow */
export function answerWithFault(fault: Fault, response: ServerResponse, rows: RawRow[]): boolean {
  switch (fault.kind) {
    case 429:
    case 418:
      response.setHeader('retry-after', fault.retryAfterS);
      send(response, fault.kind, { code: -1003, msg: 'Too many requests.' });
      return true;
    case 403:
    case 451:
    case 500:
    case 502:
    case 503:
      response.writeHead(fault.kind, { 'content-type': 'text/html' }).end('<html>not now</html>');
      return true;
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>come back later</html>');
      return true;
    case 'reset':
      response.socket?.resetAndDestroy();
      return true;
    case 'hang':
      return true;
    case 'cut': {
      const body = JSON.stringify(rows);
      response.writeHead(200, {
        'content-type': 'application/json',
        'content-length': body.length,
      });
      response.write(body.slice(0, body.length / 2), () => response.socket?.destroy());
      return true;
    }
    case 'empty':
      send(response, 200, []);
      return true;
    case 'invalid-symbol':
      send(response, 400, { code: -1121, msg: 'Invalid symbol.' });
      return true;
    case 'error':
      send(response, fault.status, { code: fault.code, msg: fault.msg ?? 'Not now.' });
      return true;
    case 'body':
      response.writeHead(200, {
        'content-type': 'application/json;charset=UTF-8',
        ...fault.headers,
      });
      response.end(fault.body);
      return true;
    case 'garbage':
      send(response, 200, fault.mutate(rows));
      return true;
  }
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  response
    .writeHead(status, { 'content-type': 'application/json;charset=UTF-8' })
    .end(JSON.stringify(body));
}
