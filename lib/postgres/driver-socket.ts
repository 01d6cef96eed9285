import { Socket } from 'node:net';
import type pg from 'pg';

/** What node-postgres 8 keeps of a connection, beside its public interface. */
interface Internals {
  connection: NodeJS.EventEmitter & { stream: Socket };
  connectionParameters: { options: string | undefined };
  /** The server process, as announced during the handshake. */
  processID: number;
}

export function internalsOf(client: pg.Client): Internals {
  return client as unknown as Internals;
}

/**
 * Takes the socket from an idle client, for postgres.js's option `socket`. The driver sends a
 * startup message first; it gets the answer that the server has given to the client already.
 */
export function handOver(client: pg.Client): Socket {
  const { connection, processID } = internalsOf(client);
  const socket = connection.stream;
  // The parser of node-postgres would read everything too. Its other listeners do no harm.
  socket.removeAllListeners('data');
  return answerStartup(socket, () => socket.emit('data', greeting(processID)));
}

/**
 * A socket on which the driver's connection fails with this error. If `socket` rejected instead,
 * postgres.js 3.4.9 would never use that connection again, and later queries would hang.
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
    // With these, postgres.js does not look for the hosts that PGTARGETSESSIONATTRS excludes.
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
