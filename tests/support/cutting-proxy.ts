import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface CuttingProxy {
  url: string;
  /**
   * Cuts the connection at the `count`-th COMMIT from now on: before the server receives it, or after,
   * so that the answer is lost.
   */
  cutAt(count: number, when: 'before' | 'after'): void;
  /** Whether it has cut a connection. */
  readonly hasCut: boolean;
}

/** Passes on what a script and PostgreSQL send, until the test ends. */
export async function startCuttingProxy(databaseUrl: string): Promise<CuttingProxy> {
  const target = new URL(databaseUrl);
  let plan: { count: number; when: 'before' | 'after' } | undefined;
  let hasCut = false;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const onward = connect(Number(target.port), target.hostname);
    for (const socket of [client, onward]) {
      sockets.add(socket);
      socket.on('close', () => {
        client.destroy();
        onward.destroy();
      });
      socket.on('error', () => {});
    }
    client.on('data', (chunk) => {
      const isCommit = chunk.toString('latin1').includes('commit\0');
      if (!isCommit || plan === undefined || --plan.count > 0) return void onward.write(chunk);
      const { when } = plan;
      plan = undefined;
      hasCut = true;
      if (when === 'before') return void client.destroy();
      // The server has committed when it answers; the answer is not passed on.
      onward.unpipe(client);
      onward.once('data', () => client.destroy()).resume();
      onward.write(chunk);
    });
    onward.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = new URL(databaseUrl);
  url.port = String((server.address() as { port: number }).port);
  return {
    url: url.href,
    cutAt: (count, when) => {
      plan = { count, when };
      hasCut = false;
    },
    get hasCut() {
      return hasCut;
    },
  };
}
