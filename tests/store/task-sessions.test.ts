import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectDatabase } from '../../lib/postgres/connection.ts';
import { eachInstrument } from '../../lib/store/each-instrument.ts';
import { listInstruments } from '../../lib/store/instruments.ts';
import { freshDatabase } from '../support/database.ts';
import { makeCandles } from '../support/tiers.ts';

/** A proxy that forwards nothing from connections opened after one has taken an instrument's lock. */
async function startStallingProxy(databaseUrl: string): Promise<string> {
  const url = new URL(databaseUrl);
  const [port, host] = [Number(url.port), url.hostname];
  const sockets: Socket[] = [];
  let isLockTaken = false;
  const server = createServer((client) => {
    const onward = connect({ port, host });
    const isStalled = isLockTaken;
    for (const socket of [client, onward]) socket.on('error', () => {});
    client.on('data', (chunk) => {
      isLockTaken ||= chunk.includes('pg_try_advisory_lock(');
      if (!isStalled) onward.write(chunk);
    });
    onward.on('data', (chunk) => client.write(chunk));
    client.on('close', () => onward.destroy());
    onward.on('close', () => client.destroy());
    sockets.push(client, onward);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  url.port = String((server.address() as { port: number }).port);
  return url.href;
}

async function setUp() {
  const database = await freshDatabase();
  await makeCandles(database, { rows: 1, from: '2024-01-01' });
  return { database, instruments: await listInstruments(database.sql) };
}

const options = { concurrency: 1, signal: new AbortController().signal };

describe('openHelper()', () => {
  test('opens no helper when the server does not answer it', async () => {
    const { database, instruments } = await setUp();
    const stalling = await connectDatabase(
      await startStallingProxy(database.url),
      'klinekeep test',
    );
    onTestFinished(() => stalling.close());
    const results = await eachInstrument(stalling, instruments, options, async (task) => {
      const helpers = await task.openHelper();
      await task.session`select 1`;
      return helpers.length;
    });
    expect(results).toMatchObject([{ state: 'done', result: 0 }]);
  });

  test('ends the task when the helper is lost, and another task follows', async () => {
    const { database, instruments } = await setUp();
    let tasks = 0;
    const results = await eachInstrument(database, instruments, options, async (task) => {
      tasks += 1;
      if (tasks > 1) return 'done alone';
      const [helper] = await task.openHelper();
      const [process] = await helper!`select pg_backend_pid() as pid`;
      await database.sql`select pg_terminate_backend(${process!.pid})`;
      return await new Promise<never>(() => {});
    });
    expect(results).toMatchObject([{ state: 'done', result: 'done alone' }]);
  });
});
