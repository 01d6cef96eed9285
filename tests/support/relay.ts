import { once } from 'node:events';
import { connect, createServer, type ListenOptions, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Relay {
  port: number;
  /** The same URL, through the relay. */
  through(url: string): string;
  /** Connections that were opened so far. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Bytes that clients have sent so far. */
  readonly bytes: number;
  /** Passes on and closes nothing, from now on or from when a client sends this text. */
  freeze(text?: string): void;
}

/**
 * Passes on what a script and the server of a URL send, until the test ends.
 * @param onConnection what to do instead of passing everything on
 */
export async function startRelay(
  databaseUrl: string,
  listen: ListenOptions = { port: 0, host: '127.0.0.1' },
  onConnection?: (client: Socket) => void,
): Promise<Relay> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let [connections, open, bytes, isFrozen] = [0, 0, 0, false];
  let freezeText: string | undefined;
  const server = createServer((client) => {
    connections += 1;
    open += 1;
    client
      .on('error', () => {})
      .on('close', () => {
        open -= 1;
      });
    sockets.add(client);
    if (onConnection) return onConnection(client);
    const onward = connect(Number(target.port), target.hostname);
    sockets.add(onward.on('error', () => {}));
    client.on('data', (chunk) => {
      bytes += chunk.length;
      if (freezeText !== undefined && chunk.includes(freezeText)) isFrozen = true;
      if (!isFrozen) onward.write(chunk);
    });
    onward.on('data', (chunk) => isFrozen || client.write(chunk));
    client.on('close', () => onward.destroy());
    onward.on('close', () => client.destroy());
  });
  server.listen(listen);
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  return {
    port,
    through: (url) => Object.assign(new URL(url), { port: String(port) }).href,
    get connections() {
      return connections;
    },
    get open() {
      return open;
    },
    get bytes() {
      return bytes;
    },
    freeze: (text) => {
      freezeText = text;
      isFrozen = text === undefined;
    },
  };
}
