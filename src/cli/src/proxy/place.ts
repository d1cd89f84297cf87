import { chmodSync, existsSync, lstatSync, rmSync } from 'node:fs';
import { connect, type Server as NetServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { CommandError, UsageError } from '../errors/errors';
import type { Place } from './server';

/** Where a proxy listens. */
export type ListenPlace =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'port'; readonly host: string | undefined; readonly port: number };

/**
 * Reads `127.0.0.1:8081`, `[::1]:8081`, `localhost:8081`, `:8443` (all addresses) or the path of a Unix socket.
 *
 * @throws UsageError
 */
export function toListenPlace(text: string, flag: string): ListenPlace {
  if (/^(?:unix:)?\.{0,2}\//.test(text)) return { kind: 'socket', path: resolve(text.replace(/^unix:/, '')) };
  const [, host, port] = /^(\[[0-9a-f:.]+\]|[\w.-]*):(\d{1,5})$/i.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535)
    throw new UsageError(`${flag} must be HOST:PORT, :PORT for all addresses, or the path of a socket.`, {
      hint: `For this machine alone: ${flag} 127.0.0.1:8081`,
    });
  const name = host === undefined || host === '' ? undefined : host.replace(/^\[|\]$/g, '');
  return { kind: 'port', host: name, port: Number(port) };
}

/** Whether only programs on this machine can reach a place. */
export function isLocal(place: ListenPlace): boolean {
  return place.kind === 'socket' || /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/i.test(place.host ?? '');
}

/** Reads the mode of a socket, such as `0660`. @throws UsageError */
export function toMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw new UsageError('--mode must be three octal digits, such as 0660.');
  return Number.parseInt(text, 8);
}

/**
 * Reads where a proxy sends requests: a URL without a path, or `unix:` and the path of a Unix socket.
 *
 * @throws UsageError
 */
export function toServerPlace(text: string, flag: string): Place {
  if (/^unix:|^\//.test(text)) {
    const socketPath = resolve(text.replace(/^unix:/, ''));
    return { shown: socketPath, url: new URL('http://localhost'), socketPath };
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:';
  if (url === undefined || !isHttp || url.href !== `${url.origin}/`) throw noOrigin(flag, text);
  return { shown: url.origin, url };
}

/** The error for a text that is not an origin, with the corrected flag if that is clear. */
function noOrigin(flag: string, text: string): UsageError {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const whole = hasScheme ? text : `http://${text}`;
  const meant = URL.canParse(whole) ? new URL(whole) : undefined;
  const isClear = meant !== undefined && /^https?:$/.test(meant.protocol) && !/[@?#]/.test(text);
  const hint = hasScheme ? 'Without its path, which each request brings' : 'With http:// or https://';
  return new UsageError(`${flag} must be a URL without path and user, such as https://orders.internal.`, {
    hint: isClear ? `${hint}: ${flag} ${meant.origin}` : undefined,
  });
}

/**
 * Listens.
 *
 * @param mode the mode of a socket
 * @returns where it listens, as a person would write it
 * @throws CommandError `port_unavailable`
 */
export async function listen(server: NetServer, place: ListenPlace, mode = 0o600): Promise<string> {
  if (place.kind === 'socket') await removeStale(place.path);
  await new Promise<void>((done, fail) => {
    server.once('error', (error) => fail(unavailable(place, error)));
    if (place.kind === 'port') {
      server.listen(place.port, place.host, done);
      return;
    }
    const before = process.umask(0o177); // nobody else can connect before its mode is set
    try {
      server.listen(place.path, done);
    } finally {
      process.umask(before);
    }
  });
  if (place.kind === 'socket') {
    chmodSync(place.path, mode);
    return place.path;
  }
  const { port } = server.address() as { port: number };
  const host = place.host ?? '';
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function unavailable(place: ListenPlace, { code, message }: NodeJS.ErrnoException): CommandError {
  const where = place.kind === 'socket' ? place.path : `${place.host ?? ''}:${place.port}`;
  // Node reports EACCES for a folder that does not exist, too.
  const folder = place.kind === 'socket' ? dirname(place.path) : '.';
  const why = existsSync(folder) ? (code ?? message) : `there is no folder ${folder}`;
  return new CommandError(
    'port_unavailable',
    `The proxy cannot listen on ${where}: ${why}.`,
    'Give another --listen.',
  );
}

/** Removes the socket of a process that has ended. Anything else stays there, and listening fails. */
async function removeStale(path: string): Promise<void> {
  if (!isSocket(path)) return;
  const isStale = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
  if (isStale) rmSync(path);
}

function isSocket(path: string): boolean {
  try {
    return lstatSync(path).isSocket();
  } catch {
    return false;
  }
}
