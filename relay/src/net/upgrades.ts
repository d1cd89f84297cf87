import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Upgrade = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/** The last response of each connection that is not over yet. Those before it end first. */
const unfinished = new WeakMap<Socket, ServerResponse>();

/**
 * The responses of a server with {@link answerOtherUpgrades}. Node makes one for each request that is not an upgrade, also for
 * those that it answers itself. Bun makes one for an upgrade, too.
 */
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
 * Answers requests to upgrade to anything but a WebSocket as if they did not ask for it (RFC 9110, section 7.8), and then
 * closes their connection. `curl --http2` and the HttpClient of Java ask for h2c with each first request.
 *
 * An upgrade may come in one packet with other requests. It then waits for their responses, which still use the connection.
 *
 * @param server a server of {@link AwaitedResponse} that has its listener for WebSockets, which is the only one for upgrades
 */
export function answerOtherUpgrades(server: Server): void {
  const toWebSocket = server.listeners('upgrade') as Upgrade[];
  server.removeAllListeners('upgrade');
  // The library counts these listeners: with a second one, it would leave refusals to that one.
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const isToWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
    afterResponses(request, socket, () => {
      if (isToWebSocket) for (const upgrade of toWebSocket) upgrade(request, socket, head);
      else answer(server, request, socket);
    });
  });
}

/** Calls `then` when all responses before have been sent, and not at all if the connection has ended with them. */
function afterResponses(request: IncomingMessage, socket: Socket, then: () => void): void {
  const turn = () => {
    if (!socket.writable) return;
    try {
      then();
    } catch {
      socket.destroy(); // Node's parser calls this, and an error there would end the process
    }
  };
  const last = unfinished.get(socket);
  if (last === undefined || last.req === request) turn();
  else last.once('close', turn);
}

function answer(server: Server, request: IncomingMessage, socket: Socket): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on('finish', () => socket.destroySoon());
  socket.resume(); // a connection that closes with unread bytes may lose the answer
  server.emit('request', request, response);
}
