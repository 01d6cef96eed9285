import type { Socket } from 'node:net';
import type postgres from 'postgres';
import { type Address, formatAddress } from './address.ts';
import { connect, isUnreachable } from './connect.ts';
import type { ConnectOptions } from './log-in.ts';

/** Some proxies end connections that are silent for half a minute. */
const CHECK_MS = 20_000;

/**
 * Checks a connection regularly until it is closed. An idle one, for example while a request limit
 * pauses the run, gets a query, so that no proxy ends it. One that waits for an answer is
 * closed if another connection cannot reach the server either: TCP alone would wait for 15 minutes.
 */
export function watchConnection(
  session: postgres.Sql,
  socket: Socket,
  address: Address,
  options: ConnectOptions,
): void {
  let before = { written: 0, read: 0 };
  let isAnswered = true;
  const check = async () => {
    const now = { written: socket.bytesWritten, read: socket.bytesRead };
    const hasWritten = now.written > before.written;
    const hasRead = now.read > before.read;
    before = now;
    if (hasRead) isAnswered = true;
    else if (hasWritten) isAnswered = false;
    if (hasRead || hasWritten) return;
    if (isAnswered) await session`select 1`;
    else if (await isGone(address, options)) socket.destroy(unresponsive(address));
  };
  const timer = setInterval(() => void check().catch(() => {}), CHECK_MS).unref();
  socket.once('close', () => clearInterval(timer));
}

async function isGone(address: Address, options: ConnectOptions): Promise<boolean> {
  try {
    await (await connect(address, { ...options, patienceMs: 0 })).end();
    return false;
  } catch (error) {
    return isUnreachable(error);
  }
}

function unresponsive(address: Address): Error {
  const text = `${formatAddress(address)} does not answer any more`;
  return Object.assign(new Error(text), { code: 'CONNECTION_CLOSED' });
}
