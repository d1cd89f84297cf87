import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { signNow } from '#gather';
import { attached } from '../../../core/attached';

type Connection = Socket & {
  readonly server?: Partial<Server>;
  /** Node's: the response that is being sent. `server.closeIdleConnections()` goes by it, too. */
  readonly _httpMessage?: {
    readonly finished: boolean;
    once(event: 'finish', listener: () => void): void;
  } | null;
};

/** How many answers of a connection are held back. */
const held = attached<number>();
const watchedServers = new WeakSet<object>();
/** Responses whose connection ends after them: a program may close idle connections again and again. */
const lasts = new WeakSet<object>();
let isEndingIdle = false;

/**
 * Keeps a connection for an answer whose end is held back. Otherwise `response.end()` and then `server.close()`, `socket.end()` or
 * `socket.destroy()` would lose the answer, which Node would have sent by then, and `socket.write()` would come before it. Node itself
 * calls these methods, too: it answers 400 to garbage by `write()`.
 */
export function keepForAnswer(socket: Connection): void {
  const count = held.get(socket);
  held.set(socket, (count ?? 0) + 1);
  if (count !== undefined) return;
  const { write, end, destroy } = socket;
  socket.write = function (this: Socket, ...args: unknown[]) {
    if (isHeld(this)) signNow();
    return Reflect.apply(write, this, args);
  };
  socket.end = function (this: Socket, ...args: unknown[]) {
    signNow();
    return Reflect.apply(end, this, args);
  };
  socket.destroy = function (this: Connection, ...args: unknown[]) {
    const isKept = isEndingIdle && isHeld(this);
    signNow();
    if (!isKept) return Reflect.apply(destroy, this, args);
    endWhenIdle(this);
    return this;
  };
  if (socket.server !== undefined) watchServer(socket.server);
}

/** Call it before the answer is sent. */
export function answerIsSent(socket: Socket): void {
  held.set(socket, (held.get(socket) ?? 1) - 1);
}

function isHeld(socket: Socket): boolean {
  return (held.get(socket) ?? 0) > 0;
}

/**
 * For Node a connection is idle as soon as its response looks as if it had ended. But the signature may take longer, middleware beneath
 * may send the answer later, and the next request of the connection may not be answered.
 */
function endWhenIdle(socket: Connection): void {
  const response = socket._httpMessage;
  if (response === null || response === undefined) socket.destroy();
  else if (response.finished && !lasts.has(response)) {
    lasts.add(response);
    response.once('finish', () => endWhenIdle(socket));
  }
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
