import { createServer, type Server } from 'node:http';

/**
 * Responds to `GET /health` for an orchestrator: 200, and 503 once the proxy is ending. It has an address of its own, so that it
 * hides no path of the server.
 *
 * @param patienceMs how long a request may take to arrive; it takes up to a fifth more until a late request is noticed
 */
export function createHealth(isEnding: () => boolean, patienceMs = 5000): Server {
  const options = { maxHeaderSize: 8192, connectionsCheckingInterval: patienceMs / 5 };
  const server = createServer(options, (request, response) => {
    const isAsked = request.url === '/health' && (request.method === 'GET' || request.method === 'HEAD');
    const status = isAsked ? (isEnding() ? 503 : 200) : 404;
    const body = JSON.stringify({ status: status === 200 ? 'ok' : status === 503 ? 'ending' : 'not found' });
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
  server.maxConnections = 100;
  server.headersTimeout = patienceMs;
  server.requestTimeout = patienceMs;
  return server;
}
