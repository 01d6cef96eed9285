import {
  Agent,
  type buildConnector,
  type Dispatcher,
  EnvHttpProxyAgent,
  errors,
  Pool,
  request,
} from 'undici';
import { describeError, KlinekeepError, untilAborted } from '../base/mod.ts';
import { type HttpAnswer, TransientError } from './answer.ts';

/** Time limit for connecting, and for a whole answer. */
const TIMEOUT_MS = 15_000;
const FILE_TIMEOUT_MS = 120_000;

/** Connections to Binance: kept alive, and through the proxy if one is set. */
export function createDispatcher(proxy: string | undefined): Dispatcher {
  const options = { connections: 32, connect: { timeout: TIMEOUT_MS } };
  if (proxy === undefined) return new Agent(options);
  return new EnvHttpProxyAgent({
    ...options,
    httpProxy: proxy,
    httpsProxy: proxy,
    factory: createPool,
  });
}

/**
 * Makes a request fail when the proxy closes the connection. undici 7.29 takes that for a failure of
 * a connection in use, and reconnects at once, without end.
 */
function createPool(origin: URL | string, options: Pool.Options): Pool {
  const { connect } = options;
  if (typeof connect !== 'function') return new Pool(origin, options);
  return new Pool(origin, {
    ...options,
    connect: (target, done) =>
      connect(target, ((error, socket) => {
        if (!(error instanceof errors.SocketError))
          done(...([error, socket] as Parameters<typeof done>));
        else done(new Error(`the proxy closed the connection (${error.message})`), null);
      }) satisfies buildConnector.Callback),
  });
}

/**
 * One GET, the whole body read; the time limit covers the body too.
 * @throws TransientError (69) when no complete answer came; the signal's reason when it is aborted;
 * KlinekeepError (1) when the dispatcher is closed.
 */
export async function httpGet(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
): Promise<HttpAnswer> {
  return await get(url, dispatcher, signal, timeoutMs, async ({ statusCode, headers, body }) => ({
    status: statusCode,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, String(value)]),
    ),
    body: await body.text(),
  }));
}

/**
 * One GET of a file.
 * @returns the body of a 200, undefined when it is larger than `maxBytes`; of others the status
 * @throws TransientError (69) when no complete answer came; the signal's reason when it is aborted;
 * KlinekeepError (1) when the dispatcher is closed.
 */
export async function httpGetBytes(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  maxBytes: number,
): Promise<{ status: number; body: Buffer | undefined }> {
  return await get(url, dispatcher, signal, FILE_TIMEOUT_MS, async ({ statusCode, body }) => {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body) {
      size += chunk.length;
      if (size > maxBytes) return { status: statusCode, body: undefined };
      chunks.push(chunk);
    }
    return { status: statusCode, body: Buffer.concat(chunks) };
  });
}

async function get<T>(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs: number,
  read: (answer: Dispatcher.ResponseData) => Promise<T>,
): Promise<T> {
  const { host } = new URL(url);
  const limit = AbortSignal.timeout(timeoutMs);
  const end = AbortSignal.any([signal, limit]);
  try {
    const options = { dispatcher, headers: { 'user-agent': 'klinekeep' }, signal: end };
    // undici ignores a signal while a request waits for a connection.
    const send = () => untilAborted(request(url, options), end);
    const answer = await send().catch((error) => {
      if (!hadBeenIdle(error)) throw error;
      return send();
    });
    return await read(answer);
  } catch (error) {
    signal.throwIfAborted();
    if (isClosed(error)) {
      throw new KlinekeepError('failed', `Cannot request ${url}: this run is ending.`, {
        cause: error,
      });
    }
    const found = limit.aborted ? `no answer within ${timeoutMs / 1000} s` : describeError(error);
    throw new TransientError(`Cannot reach Binance at ${host}: ${found}.`, error);
  }
}

/** Whether the server closed a connection that had served before. Then a GET may be sent again. */
function hadBeenIdle(error: unknown): boolean {
  if (!(error instanceof errors.SocketError)) return false;
  return error.message === 'other side closed' && (error.socket?.bytesRead ?? 0) > 0;
}

/** Whether this process has closed the connections itself. */
function isClosed(error: unknown): boolean {
  return error instanceof errors.ClientDestroyedError || error instanceof errors.ClientClosedError;
}
