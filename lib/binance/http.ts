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

/** Time limit for connecting, and for a whole answer unless another one is given. */
const TIMEOUT_MS = 15_000;
/** A server that sends nothing for this long has stopped sending. */
const IDLE_MS = 60_000;

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
 * @param readBody called with the status and the body. Default: the whole body is kept in memory.
 * @throws TransientError (69) when no complete answer came; the signal's reason when it is aborted;
 * KlinekeepError (1) when the dispatcher is closed; a KlinekeepError of `readBody`.
 */
export async function httpGet(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs?: number,
): Promise<HttpAnswer>;
export async function httpGet<Body>(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs: number,
  readBody: (body: AsyncIterable<Buffer>, status: number) => Promise<Body>,
): Promise<Omit<HttpAnswer, 'body'> & { body: Body }>;
export async function httpGet(
  url: string,
  dispatcher: Dispatcher,
  signal: AbortSignal,
  timeoutMs = TIMEOUT_MS,
  readBody: (body: AsyncIterable<Buffer>, status: number) => Promise<unknown> = (body) =>
    readAll(body),
) {
  const { host } = new URL(url);
  const limit = AbortSignal.timeout(timeoutMs);
  const end = AbortSignal.any([signal, limit]);
  try {
    const options = {
      dispatcher,
      headers: { 'user-agent': 'klinekeep' },
      signal: end,
      bodyTimeout: IDLE_MS,
    };
    // undici ignores a signal while a request waits for a connection.
    const send = () => untilAborted(request(url, options), end);
    const answer = await send().catch((error) => {
      if (!hadBeenIdle(error)) throw error;
      return send();
    });
    return {
      status: answer.statusCode,
      headers: answer.headers,
      body: await readBody(answer.body, answer.statusCode),
    };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof KlinekeepError) throw error;
    if (isClosed(error)) {
      throw new KlinekeepError('failed', `Cannot request ${url}: this run is ending.`, {
        cause: error,
      });
    }
    const found = limit.aborted ? `no answer within ${timeoutMs / 1000} s` : describeError(error);
    throw new TransientError(`Cannot reach Binance at ${host}: ${found}.`, error);
  }
}

/** @param maxBytes stops reading a body that is longer */
export async function readAll(body: AsyncIterable<Buffer>, maxBytes?: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    chunks.push(chunk);
    if (maxBytes !== undefined && size > maxBytes) break;
  }
  return Buffer.concat(chunks, size);
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
