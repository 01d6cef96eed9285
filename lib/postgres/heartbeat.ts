import type { Socket } from 'node:net';
import type postgres from 'postgres';
import { type Address, formatAddress } from './address.ts';
import { connect, isUnreachable } from './connect.ts';
import type { ConnectOptions } from './log-in.ts';

/** Some proxies end connections that are silent for half a minute. */
const BEAT_MS = 20_000;

/**
 * Looks after a connection until it is closed. One that is idle, for example while Binance
 * makes us wait, gets a query, so that no proxy takes it for dead. One that waits for an answer
 * is dropped when the server cannot be reached over another connection either: TCP alone would
 * wait for a quarter of an hour.
 */
export function watchConnection(
  session: postgres.Sql,
  socket: Socket,
  address: Address,
  options: ConnectOptions,
): void {
  let before = { written: 0, read: 0 };
  let isAnswered = true;
  const beat = async () => {
    const now = { written: socket.bytesWritten, read: socket.bytesRead };
    const [hasWritten, hasRead] = [now.written > before.written, now.read > before.read];
    before = now;
    if (hasRead) isAnswered = true;
    else if (hasWritten) isAnswered = false;
    if (hasRead || hasWritten) return;
    if (isAnswered) await session`select 1`;
    else if (await isGone(address, options)) socket.destroy(silent(address));
  };
  const timer = setInterval(() => void beat().catch(() => {}), BEAT_MS).unref();
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

function silent(address: Address): Error {
  const text = `${formatAddress(address)} does not answer any more`;
  return Object.assign(new Error(text), { code: 'CONNECTION_CLOSED' });
}
