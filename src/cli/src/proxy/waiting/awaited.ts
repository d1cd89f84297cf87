import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** The responses of each connection of HTTP/1.1 that are not over yet, in their order. */
const unfinished = new WeakMap<Duplex, Set<ServerResponse>>();

/**
 * A response for which {@link afterResponses} waits. Node makes one for each request, also for those that it answers itself.
 *
 * If its connection ends while it is still behind another one, it closes. Node would only close that other one, and what is kept for
 * this one would stay.
 */
export class AwaitedResponse<Request extends IncomingMessage> extends ServerResponse<Request> {
  constructor(...args: ConstructorParameters<typeof ServerResponse<Request>>) {
    super(...args);
    const [{ socket }] = args;
    const responses = responsesOn(socket);
    responses.add(this);
    this.once('close', () => responses.delete(this));
  }
}

function responsesOn(socket: Duplex): Set<ServerResponse> {
  const known = unfinished.get(socket);
  if (known !== undefined) return known;
  const responses = new Set<ServerResponse>();
  unfinished.set(socket, responses);
  socket.once('close', () => {
    for (const response of responses) {
      if (response.socket !== null || response.writableFinished) continue; // Node closes it
      response.destroy();
      response.emit('close');
    }
  });
  return responses;
}

/**
 * Calls `then` when all responses before have been sent. Until then an upgrade that came behind other requests has to wait: its
 * answer would pass for theirs, and theirs would get into the other protocol.
 *
 * @param patienceMs how long to wait: Node does not move them on any more, nor notice that the client leaves. Then the connection ends
 */
export function afterResponses(socket: Duplex, patienceMs: number, then: () => void): void {
  const last = [...(unfinished.get(socket) ?? [])].at(-1);
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
