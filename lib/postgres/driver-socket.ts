import { Socket } from 'node:net';
import type pg from 'pg';

/** Fields of a node-postgres 8 client that are not in its public interface. */
interface Internals {
  connection: NodeJS.EventEmitter & { stream: Socket };
  connectionParameters: { options: string | undefined };
  /** The number of the server process, as sent during the handshake. */
  processID: number;
}

export function internals(client: pg.Client): Internals {
  return client as unknown as Internals;
}

/**
 * Takes the socket from an idle client, for postgres.js's option `socket`. The driver starts with a
 * startup message, and gets the answer that the server has sent to the client before.
 */
export function handOver(client: pg.Client): Socket {
  const { connection, processID } = internals(client);
  const socket = connection.stream;
  // Otherwise node-postgres would parse everything too. Its other listeners are harmless.
  socket.removeAllListeners('data');
  return answerStartup(socket, () => socket.emit('data', greeting(processID)));
}

/**
 * Makes a socket on which the driver's connection fails with this error. If the option `socket`
 * rejected instead, postgres.js 3.4.9 would never use that connection again, and queries would hang.
 */
export function failedSocket(error: Error): Socket {
  const socket = new Socket();
  return answerStartup(socket, () => socket.destroy(error));
}

function answerStartup(socket: Socket, answer: () => void): Socket {
  socket.write = () => {
    Reflect.deleteProperty(socket, 'write');
    setImmediate(answer);
    return true;
  };
  return socket;
}

/**
 * AuthenticationOk, two ParameterStatus, BackendKeyData, ReadyForQuery.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
function greeting(processId: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeInt32BE(processId);
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    // Without these, postgres.js would ask which hosts PGTARGETSESSIONATTRS excludes.
    message('S', Buffer.from('in_hot_standby\0off\0')),
    message('S', Buffer.from('default_transaction_read_only\0off\0')),
    message('K', key),
    message('Z', Buffer.from('I')),
  ]);
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
