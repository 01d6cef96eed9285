import type { IncomingHttpHeaders } from 'node:http';
import { formatTime, KlinekeepError } from '../base/mod.ts';

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Cut off where it is longer than wanted. */
  body: Buffer;
}

/** A 429 normally ends with the minute. For a longer wait than this, the run ends and is run again later. */
export const MAX_WAIT_MS = 10 * 60_000;

/** 429: no request may be sent to this market for `pauseMs`. */
export class RateLimitedError extends Error {
  readonly pauseMs: number;
  constructor(pauseMs: number) {
    super('Binance answered 429');
    this.pauseMs = pauseMs;
  }
}

/** Worth a retry: no connection, overload, HTML instead of data, half an answer. */
export class TransientError extends KlinekeepError {
  constructor(message: string, cause?: unknown) {
    super('unavailable', message, {
      hint: 'No candle is lost. Check the network, HTTPS_PROXY and the BINANCE_…_URL settings, or run it again later.',
      cause,
    });
  }
}

/** Binance serves nothing to this address, now or ever, so the whole run ends. */
export class ShutOutError extends KlinekeepError {}

/** Whether an error ends the whole run. */
export function isShutOut(error: unknown): boolean {
  return error instanceof ShutOutError;
}

/** A 418, or a 429 with a long wait. */
export class BannedError extends ShutOutError {
  readonly untilMs: number;
  /** @param untilMs by this machine's clock, Unix ms */
  constructor(untilMs: number, where = 'in answer to an earlier request') {
    const until = formatTime(Math.ceil(untilMs / 1000) * 1000);
    super('later', `Binance has banned this IP address until ${until} (${where}).`, {
      hint: `Send no request from this address before then, with any program. Run it again after ${until}.`,
    });
    this.untilMs = untilMs;
  }
}

/** -1121: the exchange does not know the symbol (any more). */
export class UnknownSymbolError extends KlinekeepError {}

/** Without a time in the answer, a 429 or a 418 counts for this long. */
const DEFAULT_PAUSE_MS = 60_000;

const TOO_MANY_REQUESTS = -1003;
const INVALID_INTERVAL = -1120;
const UNKNOWN_SYMBOL = -1121;
/** Unknown error, disconnected, backend timeout, overloaded: the same request may succeed later. */
const TRANSIENT_CODES = [-1000, -1001, -1007, -1008];

/** The clocks when an answer arrived, Unix ms. */
export interface Clocks {
  /** This machine's: Retry-After counts from it. */
  nowMs: number;
  /** The exchange's, which states a ban's end by it. Undefined: the answer's Date header is used. */
  exchangeNowMs: number | undefined;
}

/**
 * Accepts a good answer, and throws what a bad one means. A 200 with an error object is that error.
 * @returns the body, as text
 * @throws RateLimitedError on 429 and -1003; TransientError on 5xx, 408, temporary errors, and when
 * the body is not JSON; BannedError 75 on 418 and on a -1003 that states the end of a ban; ShutOutError 69
 * on 403 and 451; UnknownSymbolError 65; KlinekeepError 1 on any other refusal.
 */
export function checkAnswer(answer: HttpAnswer, url: string, clocks: Clocks): string {
  const { host, pathname, searchParams } = new URL(url);
  const { status } = answer;
  const body = new TextDecoder().decode(answer.body);
  const where = `${host}${pathname}`;
  const { isJson, errorCode } = readBody(body);
  const found = errorCode === undefined ? String(status) : `${status}, code ${errorCode},`;

  if (status === 429 || status === 418 || errorCode === TOO_MANY_REQUESTS)
    throw limitError(answer, body, `${status} at ${where}`, clocks);
  if (status === 403 || status === 451) {
    throw new ShutOutError(
      'unavailable',
      `Binance refuses requests from this location or address (${status} at ${where}).`,
      {
        hint:
          'Retrying does not help. https://data-api.binance.vision serves spot candles too: set BINANCE_SPOT_URL\n' +
          'to it. For futures, use a network that Binance serves.',
      },
    );
  }
  if (status >= 500 || status === 408 || TRANSIENT_CODES.includes(errorCode ?? 0))
    throw new TransientError(`Binance is overloaded or down (${found} at ${where}).`);
  if (errorCode === UNKNOWN_SYMBOL) {
    throw new UnknownSymbolError(
      'data',
      `Binance does not know the symbol ${searchParams.get('symbol')} (${where}).`,
      {
        hint: 'Check the name: base and quote as Binance writes them, --market usdm for perpetuals.',
      },
    );
  }
  if (errorCode === INVALID_INTERVAL) {
    throw new KlinekeepError(
      'data',
      `Binance has no ${searchParams.get('interval')} candles at ${where}.`,
      { hint: 'Only spot has 1s.' },
    );
  }
  if (status !== 200 || errorCode !== undefined) {
    throw new KlinekeepError(
      'failed',
      `Binance refused the request (${status} at ${where}): ${body.slice(0, 200)}`,
    );
  }
  if (!isJson) {
    throw new TransientError(
      `${where} sent something other than data: ${JSON.stringify(body.slice(0, 80))}`,
    );
  }
  return body;
}

/** A ban ends the run. A limit is waited for, unless the wait is long. */
function limitError(answer: HttpAnswer, body: string, where: string, clocks: Clocks): Error {
  const { nowMs } = clocks;
  const exchangeNowMs = clocks.exchangeNowMs ?? (Date.parse(answer.headers.date ?? '') || nowMs);
  // "Way too much request weight used; IP banned until 1573465838000."
  const bannedUntil = /banned until (\d{13})\b/.exec(body)?.[1];
  const statedMs = Math.max(
    Number(answer.headers['retry-after'] ?? 0) * 1000 || 0,
    bannedUntil ? Number(bannedUntil) - exchangeNowMs : 0,
  );
  const pauseMs = statedMs > 0 ? statedMs : DEFAULT_PAUSE_MS;
  const isBan = answer.status === 418 || bannedUntil !== undefined || pauseMs > MAX_WAIT_MS;
  return isBan ? new BannedError(nowMs + pauseMs, where) : new RateLimitedError(pauseMs);
}

/** @returns `errorCode`: only if the body is an error object, such as `{"code":-1121,"msg":"…"}` */
function readBody(body: string): { isJson: boolean; errorCode?: number } {
  // Klines are long arrays. The first and last character show whether one is cut; ccxt parses it.
  if (body.startsWith('[') && body.endsWith(']')) return { isJson: true };
  try {
    const parsed: unknown = JSON.parse(body);
    const hasCode = typeof parsed === 'object' && parsed !== null && 'code' in parsed;
    const errorCode = hasCode ? Number(parsed.code) : 0;
    return errorCode ? { isJson: true, errorCode } : { isJson: true };
  } catch {
    return { isJson: false };
  }
}
