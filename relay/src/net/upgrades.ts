import { type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

type Upgrade = (request: IncomingMessage, socket: Socket, head: Buffer) => void;

/**
 * Answers requests to upgrade to anything but a WebSocket as if they did not ask for it (RFC 9110, section 7.8), and then
 * closes their connection. `curl --http2` and the HttpClient of Java ask for h2c with each first request.
 *
 * @param server a server that has its listener for WebSockets, which is the only one for upgrades
 */
export function answerOtherUpgrades(server: Server): void {
  const toWebSocket = server.listeners('upgrade') as Upgrade[];
  server.removeAllListeners('upgrade');
  // The library counts these listeners: with a second one, it would leave refusals to that one.
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (request.headers.upgrade?.toLowerCase() === 'websocket') {
      for (const upgrade of toWebSocket) upgrade(request, socket, head);
      return;
    }
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.on('finish', () => socket.destroySoon());
    socket.resume(); // a connection that closes with unread bytes may lose the answer
    server.emit('request', request, response);
  });
}
