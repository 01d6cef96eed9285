import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { describeError } from '../errors.ts';
import { type HttpAnswer, TransientError } from './answer.ts';

/** Connects, asks and gives up after this long without an answer. */
const TIMEOUT_MS = 15_000;

/** Connections for Binance: kept alive, through the proxy where one is set. */
export function createDispatcher(httpsProxy: string | undefined): Dispatcher {
  const options = { connections: 32, connect: { timeout: TIMEOUT_MS } };
  if (httpsProxy === undefined) return new Agent(options);
  return new EnvHttpProxyAgent({ ...options, httpsProxy });
}

/**
 * One GET, the whole body read; the time limit covers the body too.
 * @throws TransientError (69) when no complete answer came; the signal's reason when it is aborted.
 */
export async function httpGet(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<HttpAnswer> {
  const { host } = new URL(url);
  const limit = AbortSignal.timeout(timeoutMs);
  try {
    const answer = await request(url, {
      dispatcher,
      headers: { 'user-agent': 'klinekeep', accept: 'application/json' },
      signal: AbortSignal.any([signal, limit]),
    });
    const body = await answer.body.text();
    const headers = Object.entries(answer.headers).map(([name, value]) => [name, String(value)]);
    return { status: answer.statusCode, headers: Object.fromEntries(headers), body };
  } catch (error) {
    signal.throwIfAborted();
    const found = limit.aborted ? `no answer within ${timeoutMs / 1000} s` : describeError(error);
    throw new TransientError(`Binance is not to be reached at ${host}: ${found}`, error);
  }
}
