import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { EXIT } from '../../lib/base/errors.ts';
import { loadEnv } from '../../lib/base/settings.ts';
import { TransientError } from '../../lib/binance/answer.ts';
import { createDispatcher, httpGet } from '../../lib/binance/http.ts';
import { createRestSource } from '../../lib/binance/rest.ts';
import { pingHealthcheck } from '../../lib/cli/healthcheck.ts';

const neverAborted = () => new AbortController().signal;
const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port;

async function serve(answer: RequestListener) {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, url: `http://127.0.0.1:${portOf(server)}` };
}

test.each<[string, boolean, RequestListener]>([
  ['before an answer', false, () => {}],
  ['within an answer', false, (_, answer) => void answer.writeHead(200).write('[1,')],
  ['before an answer through a proxy', true, () => {}],
])('a client closed %s: Binance is not blamed', async (_, isProxied, answer) => {
  const { server, url } = await serve(answer);
  // A tunnel is no connection of the server any more, which would close it.
  if (isProxied) server.on('connect', (_, tunnel) => onTestFinished(() => void tunnel.destroy()));
  const dispatcher = createDispatcher(isProxied ? url : undefined);
  const arrived = once(server, isProxied ? 'connect' : 'request');
  const asked = httpGet(`${url}/x`, dispatcher, neverAborted());
  asked.catch(() => {});
  await arrived;
  await dispatcher.destroy();
  await expect(asked).rejects.toMatchObject({ exitCode: EXIT.failed });
  await expect(asked).rejects.not.toBeInstanceOf(TransientError);
  await expect(asked).rejects.toThrow(/: this run is ending\.$/);
});

test('a closed source: requests nothing and does not try again', async () => {
  let requests = 0;
  const { url } = await serve(() => (requests += 1));
  const waits: string[] = [];
  const source = createRestSource(loadEnv({ BINANCE_SPOT_URL: url }), {
    pauses: undefined,
    signal: neverAborted(),
    onWait: (message) => waits.push(message),
  });
  await source.close();
  const range = { fromMs: 0, toMs: 60_000 };
  const page = {
    market: 'spot',
    exchangeSymbol: 'BTCUSDT',
    interval: '1m',
    range,
    limit: 1,
  } as const;
  await expect(source.klines(page)).rejects.toThrow(/this run is ending/);
  await expect(source.symbols('spot')).rejects.toThrow(/this run is ending/);
  expect({ requests, waits }).toEqual({ requests: 0, waits: [] });
});

async function startProxy(onConnection: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const proxy = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    onConnection(socket);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const dispatcher = createDispatcher(`http://127.0.0.1:${portOf(proxy)}`);
  onTestFinished(async () => {
    await dispatcher.destroy();
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  return { dispatcher, sockets };
}

test.each(['http', 'https'])(
  'a proxy that accepts and closes: one attempt over %s',
  async (scheme) => {
    const { dispatcher, sockets } = await startProxy((socket) => socket.destroy());
    const asked = httpGet(`${scheme}://binance.test/x`, dispatcher, neverAborted());
    await expect(asked).rejects.toThrow(/the proxy closed the connection/);
    await expect(asked).rejects.toBeInstanceOf(TransientError);
    expect(sockets).toHaveLength(1);
  },
);

test('a proxy that never answers: the request ends with its deadline or signal', async () => {
  const { dispatcher } = await startProxy(() => {});
  const late = httpGet('https://binance.test/x', dispatcher, neverAborted(), 100);
  await expect(late).rejects.toThrow(/no answer within 0.1 s/);
  const controller = new AbortController();
  const stopped = httpGet('https://binance.test/x', dispatcher, controller.signal);
  controller.abort(new Error('stopped by SIGINT'));
  await expect(stopped).rejects.toThrow('stopped by SIGINT');
});

test.each<[string, RequestListener]>([
  ['never answers', () => {}],
  ['never ends its answer', (_, answer) => void answer.writeHead(200).write('OK')],
])('a healthcheck that %s: does not hold up the run', async (_, answer) => {
  const { url } = await serve(answer);
  await pingHealthcheck(url, 0, 50);
});
