import { randomUUID } from 'node:crypto';
import { hasScope } from '@authmesh/sdk';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { createEventStore } from './event-store.mjs';
import { createTools, newTickets } from './tickets.mjs';

const MOST_SESSIONS = 20; // of one caller

/** @param amesh the instance of this machine; a test has another one */
export function createApp(amesh) {
  const [tickets, sessions] = [newTickets(), new Map()];
  const app = express();
  app.disable('x-powered-by');

  // verify() comes before the body parser and the transport: nobody reaches MCP without a signature.
  app.all('/mcp', amesh.verify({ require: 'tickets:read' }), express.json(), async (req, res) => {
    const { deviceId, scopes } = req.authMesh;
    // What tools get as `authInfo`. There is no token that could leak: each request has its own signature.
    req.auth = { token: '', clientId: deviceId, scopes: [...scopes], extra: { authMesh: req.authMesh } };

    const id = req.get('mcp-session-id');
    // A session belongs to the caller that began it: to know its ID is not enough.
    const session = sessions.get(id)?.owner === deviceId ? sessions.get(id) : undefined;
    if (session !== undefined) return session.transport.handleRequest(req, res, req.body);
    if (id !== undefined) return refuse(res, 404, 'There is no such session.');
    const own = [...sessions.values()].filter(({ owner }) => owner === deviceId);
    if (own.length >= MOST_SESSIONS) return refuse(res, 429, 'This caller has too many sessions: end some.');

    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: createEventStore(), // so that a stream goes on after its connection was lost
      onsessioninitialized: (newId) => void sessions.set(newId, { transport, owner: deviceId }),
    });
    transport.onclose = () => sessions.delete(transport.sessionId);
    await createTools(tickets, hasScope).connect(transport);
    await transport.handleRequest(req, res, req.body);
  });
  return app;
}

function refuse(res, status, message) {
  res.status(status).json({ jsonrpc: '2.0', id: null, error: { code: -32_000, message } });
}
