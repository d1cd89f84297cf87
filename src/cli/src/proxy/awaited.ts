import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** The last response of each connection of HTTP/1.1 that is not over yet. Those before it end first. */
const unfinished = new WeakMap<Duplex, ServerResponse>();

/** A response for which {@link afterResponses} waits. Node makes one for each request, also for those that it answers itself. */
export class AwaitedResponse<Request extends IncomingMessage> extends ServerResponse<Request> {
  constructor(...args: ConstructorParameters<typeof ServerResponse<Request>>) {
    super(...args);
    const [{ socket }] = args;
    unfinished.set(socket, this);
    this.once('close', () => {
      if (unfinished.get(socket) === this) unfinished.delete(socket);
    });
  }
}

/**
 * Calls `then` when all responses before have been sent. Until then an upgrade that came behind other requests has to wait: its
 * answer would pass for theirs, and theirs would get into the other protocol.
 *
 * @param patienceMs how long to wait: Node does not move them on any more, nor notice that the client leaves. Then the connection ends
 */
export function afterResponses(socket: Duplex, patienceMs: number, then: () => void): void {
  const last = unfinished.get(socket);
  if (last === undefined) {
    then();
    return;
  }
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  last.once('close', () => {
    clearTimeout(timer);
    if (socket.writable) then();
  });
}
