import { createServer, type Server } from 'node:http';

/**
 * Answers `GET /health` for an orchestrator, at an address of its own, so that it hides no path of a server: 200, and 503
 * once the proxy is ending.
 */
export function createHealth(isEnding: () => boolean): Server {
  const server = createServer({ maxHeaderSize: 8192 }, (request, response) => {
    const isAsked = request.url === '/health' && (request.method === 'GET' || request.method === 'HEAD');
    const status = isAsked ? (isEnding() ? 503 : 200) : 404;
    const body = JSON.stringify({ status: status === 200 ? 'ok' : status === 503 ? 'ending' : 'not found' });
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
  server.maxConnections = 100;
  server.headersTimeout = 5000;
  server.requestTimeout = 5000;
  return server;
}
