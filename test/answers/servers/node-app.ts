import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import compression from 'compression';
import express from 'express';
import { toMiddleware } from '../../../src/adapters/express/middleware';
import { listen, verifierOf } from './web-verifier';

// Express, for a runtime that imitates node:http.
let seen: unknown;
const app = express();
app.use(compression({ threshold: 0 }));
app.use(toMiddleware(verifierOf()));
app.get('/text', (_request, response) => void response.send('text'));
app.get('/cookies', (_request, response) => void response.cookie('a', '1').cookie('b', '2').json({ a: 1 }));
app.get('/none', (_request, response) => void response.status(204).end());
app.get('/redirect', (_request, response) => response.redirect('/text'));
app.get('/head', (_request, response) => {
  response.writeHead(201, { 'content-type': 'text/plain' }).end('made');
});
app.get('/pieces', async (_request, response) => {
  response.writeHead(200, { 'content-length': 6, 'content-type': 'text/plain' }).write('abc');
  await sleep(5);
  response.end('def');
});
app.get('/events', async (_request, response) => {
  response.setHeader('content-type', 'text/event-stream');
  response.flushHeaders();
  await sleep(5);
  response.end('data: 1\n\n');
});
app.get('/sent', (_request, response) => {
  response.end('sent');
  let late = 'none';
  try {
    response.setHeader('late', 'x');
  } catch (error) {
    late = (error as { code: string }).code;
  }
  seen = { headersSent: response.headersSent, writableEnded: response.writableEnded, late };
});
app.get('/seen', (_request, response) => void response.json(seen));

const server = createServer(app).listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  listen(`http://127.0.0.1:${port}`);
  console.log(`listening ${port}`);
});
