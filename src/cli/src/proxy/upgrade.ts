import { STATUS_CODES } from 'node:http';
import { type Duplex, pipeline } from 'node:stream';
import type { AnswerHead } from './reply';
import type { Answered } from './server';

/** Answers an upgrade without one, and ends the connection. */
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
  // The end of a connection from which nobody reads is not noticed, and a stranger may keep it open for ever.
  socket.resume();
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
}

const LINGER_MS = 1000;

/** Writes what a server has answered to an upgrade: 101, or a response to a request like any other. */
export function writeUpgrade(
  socket: Duplex,
  { status, lines }: AnswerHead,
  { response, upgraded }: Answered,
): void {
  const own =
    upgraded === undefined
      ? ['connection', 'close']
      : ['connection', 'Upgrade', 'upgrade', response.headers.upgrade ?? 'websocket'];
  let head = statusLine(status);
  for (let i = 0; i + 1 < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  for (let i = 0; i + 1 < own.length; i += 2) head += `${own[i]}: ${own[i + 1]}\r\n`;
  socket.write(`${head}\r\n`, 'latin1');
  // The end of the connection is the end of the body: its length may not be known.
  if (upgraded === undefined) pipeline(response, socket, () => socket.destroy());
}

function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
}

/**
 * Calls `onClose` when a client leaves before its upgrade is answered. Nothing is read from such a connection otherwise, so its end would
 * not be noticed.
 *
 * @returns ends that, before the connection is joined with another one
 */
export function watchClient(socket: Duplex, onClose: () => void): () => void {
  const read = () => {}; // what arrives stays in the buffer of the stream
  if (socket.destroyed || socket.readableEnded) onClose(); // while it was verified
  socket.once('close', onClose).once('end', onClose).on('readable', read);
  return () => void socket.off('readable', read).off('end', onClose);
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
    // What the other side still sends is of no use to one that has ended, but may be under way.
    socket.once('end', () => setTimeout(end, HALF_OPEN_MS).unref());
  }
  one.socket.pipe(other.socket).pipe(one.socket);
}

const HALF_OPEN_MS = 5000;
