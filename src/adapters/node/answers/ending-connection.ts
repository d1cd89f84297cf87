import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { signNow } from '#gather';
import { attached } from '../../../core/attached';

/** How many answers of a connection are held back: 0 or 1. */
const held = attached<number>();
const watchedServers = new WeakSet<object>();
let isEndingIdle = false;

/**
 * Keeps a connection for an answer whose end is held back. Otherwise `response.end()` and then `server.close()`, `socket.end()` or
 * `socket.destroy()` would lose the answer, which Node would have sent by then. Node itself calls these methods, too.
 */
export function keepForAnswer(socket: Socket & { readonly server?: Partial<Server> }): void {
  const isWatched = held.get(socket) !== undefined;
  held.set(socket, 1);
  if (isWatched) return;
  const { end, destroy } = socket;
  socket.end = function (this: Socket, ...args: unknown[]) {
    signNow();
    return Reflect.apply(end, this, args);
  };
  socket.destroy = function (this: Socket, ...args: unknown[]) {
    signNow();
    // Its signature takes longer. For Node the connection is idle, since the response looks as if it had ended.
    if (isEndingIdle && held.get(this) === 1) return this;
    return Reflect.apply(destroy, this, args);
  };
  if (socket.server !== undefined) watchServer(socket.server);
}

/** Call it before the answer is sent. */
export function answerIsSent(socket: Socket): void {
  held.set(socket, 0);
}

/** `server.close()` ends idle connections by this method, too. */
function watchServer(server: Partial<Server>): void {
  const { closeIdleConnections } = server;
  if (closeIdleConnections === undefined || watchedServers.has(server)) return;
  watchedServers.add(server);
  server.closeIdleConnections = () => {
    isEndingIdle = true;
    try {
      closeIdleConnections.call(server as Server);
    } finally {
      isEndingIdle = false;
    }
  };
}
