import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import type { AnswerHead } from './reply';

/** Refuses an upgrade, and ends the connection. */
export function refuseUpgrade(
  socket: Duplex,
  {
    status,
    headers = { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body,
  }: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body: string;
  },
): void {
  if (socket.destroyed) return;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = `content-length: ${Buffer.byteLength(body)}\r\n`;
  socket.end(`${statusLine(status)}${lines.join('')}${length}connection: close\r\n\r\n${body}`);
  // Nobody would notice the end of a connection from which nobody reads, and a stranger could keep it open for ever.
  socket.resume();
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

const LINGER_MS = 1000;

/** Writes the 101 of a server. */
export function writeUpgrade(socket: Duplex, head: AnswerHead, { headers }: IncomingMessage): void {
  writeHead(socket, head, ['connection', 'Upgrade', 'upgrade', headers.upgrade ?? 'websocket']);
}

/** Writes any other response of a server to an upgrade. Its body ends with the connection, since its length may not be known. */
export function writeRefusal(socket: Duplex, head: AnswerHead, body: Readable): void {
  writeHead(socket, head, ['connection', 'close']);
  pipeline(body, socket, () => socket.destroy());
}

function writeHead(socket: Duplex, { status, lines }: AnswerHead, own: readonly string[]): void {
  let head = statusLine(status);
  for (let i = 0; i + 1 < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  for (let i = 0; i + 1 < own.length; i += 2) head += `${own[i]}: ${own[i + 1]}\r\n`;
  socket.write(`${head}\r\n`, 'latin1');
}

function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
}

/**
 * Calls `onClose` when a client leaves before its upgrade is answered. Nothing else reads from such a connection, so nobody would
 * notice its end.
 *
 * @returns a function that stops this, before the connection is joined with another one: what is joined stalls while this runs
 */
export function watchClient(socket: Duplex, onClose: () => void): () => void {
  const read = () => {}; // bytes that arrive stay in the buffer of the stream
  if (socket.destroyed || socket.readableEnded) onClose(); // the client has left while the request was verified
  socket.once('close', onClose).once('end', onClose).on('readable', read);
  return () => void socket.off('readable', read).off('end', onClose).off('close', onClose);
}

/** A connection, and what has arrived on it already. */
export interface Joined {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Joins two connections. When one of them ends or breaks, so does the other. */
export function joinSockets(one: Joined, other: Joined): void {
  if (one.head.length > 0) other.socket.write(one.head);
  if (other.head.length > 0) one.socket.write(other.head);
  const sockets = [one.socket, other.socket];
  const end = () => {
    for (const socket of sockets) socket.destroy();
  };
  for (const socket of sockets) {
    socket.on('error', end);
    socket.once('close', end);
    // A side that has ended may still get bytes that the other side has already sent.
    socket.once('end', () => setTimeout(end, HALF_OPEN_MS).unref());
  }
  one.socket.pipe(other.socket).pipe(one.socket);
}

const HALF_OPEN_MS = 5000;
