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

/**
 * Accepts a good answer, and throws what a bad one means.
 * @param nowMs this machine's clock, Unix ms: Retry-After counts from it
 * @returns the body, as text
 * @throws RateLimitedError on 429; TransientError on 5xx and when the body is not JSON; BannedError 75 on
 * 418; ShutOutError 69 on 403 and 451; UnknownSymbolError 65; KlinekeepError 1 on any other refusal.
 */
export function checkAnswer(answer: HttpAnswer, url: string, nowMs: number): string {
  const { host, pathname, searchParams } = new URL(url);
  const { status } = answer;
  const body = new TextDecoder().decode(answer.body);
  const where = `${host}${pathname}`;
  const retryAfterMs = Number(answer.headers['retry-after'] ?? 60) * 1000 || 60_000;

  if (status === 429 && retryAfterMs <= MAX_WAIT_MS) throw new RateLimitedError(retryAfterMs);
  if (status === 418 || status === 429)
    throw new BannedError(nowMs + retryAfterMs, `${status} at ${where}`);
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
  if (status >= 500)
    throw new TransientError(`Binance is overloaded or down (${status} at ${where}).`);

  const { isJson, errorCode } = readBody(body);
  if (errorCode === -1121) {
    throw new UnknownSymbolError(
      'data',
      `Binance does not know the symbol ${searchParams.get('symbol')} (${where}).`,
      {
        hint: 'Check the name: base and quote as Binance writes them, --market usdm for perpetuals.',
      },
    );
  }
  if (status !== 200) {
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

function readBody(body: string): { isJson: boolean; errorCode?: number } {
  // Klines are long arrays. The first and last character show whether one is cut; ccxt parses it.
  if (body.startsWith('[') && body.endsWith(']')) return { isJson: true };
  try {
    const parsed: unknown = JSON.parse(body);
    const hasCode = typeof parsed === 'object' && parsed !== null && 'code' in parsed;
    return hasCode ? { isJson: true, errorCode: Number(parsed.code) } : { isJson: true };
  } catch {
    return { isJson: false };
  }
}
