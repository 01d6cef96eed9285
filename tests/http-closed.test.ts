import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { TransientError } from '../lib/binance/answer.ts';
import { createDispatcher, httpGet } from '../lib/binance/http.ts';
import { createRestSource } from '../lib/binance/rest.ts';
import { loadEnv } from '../lib/env.ts';
import { EXIT } from '../lib/errors.ts';
import { pingHealthcheck } from '../lib/healthcheck.ts';

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
  if (isProxied) server.on('connect', () => {});
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
    ledger: {
      reserve: async ({ wanted }) => ({ granted: wanted, pauseMs: 0, isBan: false }),
      pause: async () => {},
    },
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

test('a proxy that accepts and closes: few attempts, then 69', async () => {
  let connections = 0;
  const proxy = createTcpServer((socket) => {
    connections += 1;
    socket.on('error', () => {}).destroy();
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => void proxy.close());
  const dispatcher = createDispatcher(`http://127.0.0.1:${portOf(proxy)}`);
  const asked = httpGet('http://binance.test/x', dispatcher, neverAborted());
  await expect(asked).rejects.toBeInstanceOf(TransientError);
  expect(connections).toBeLessThan(5);
  await dispatcher.destroy();
});

test.each<[string, RequestListener]>([
  ['never answers', () => {}],
  ['never ends its answer', (_, answer) => void answer.writeHead(200).write('OK')],
])('a healthcheck that %s: does not hold up the run', async (_, answer) => {
  const { url } = await serve(answer);
  await pingHealthcheck(url, 0, 50);
});
