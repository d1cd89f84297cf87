import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  request,
} from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Middleware, toMiddleware } from '../../src/adapters/express/middleware';
import { signed, verifierAt } from '../support/core';
import { withListener } from '../support/fastify';
import { type Listening, listen } from '../support/listen';

type Serve = (middleware: Middleware, handler: () => void) => Promise<RequestListener>;

/** Servers that take a promise from a middleware, and go on when it settles, as if the middleware had called `next()`. */
const servers: { name: string; serve: Serve }[] = [
  {
    name: 'Restify',
    async serve(middleware, handler) {
      return (request, response) => {
        const next = () => {
          handler();
          if (!response.writableEnded) response.end('in');
        };
        const returned = middleware(request, response, next) as unknown;
        if (returned instanceof Promise) returned.then(() => next());
      };
    },
  },
  {
    name: 'a hook of Fastify',
    async serve(middleware, handler) {
      const { app, ready } = withListener();
      app.addHook('onRequest', (request, reply, done) => middleware(request.raw, reply.raw, done));
      app.all('/*', async () => {
        handler();
        return 'in';
      });
      return ready();
    },
  },
];

const TYPE = { 'content-type': 'text/plain' };

let server: Listening;
afterEach(() => server.close());

describe.each(servers)('under $name', ({ serve }) => {
  async function call(headers: OutgoingHttpHeaders, target = '/api/orders') {
    const more = { host: 'api.example.com', 'content-length': 4, ...TYPE };
    const sending = request(server.origin + target, { method: 'POST', headers: { ...headers, ...more } }).end(
      'text',
    );
    const [response] = (await once(sending, 'response')) as [IncomingMessage];
    return { status: response.statusCode, text: await text(response) };
  }

  it('a refused request reaches no handler', async () => {
    const handler = vi.fn();
    server = await listen(createServer(await serve(toMiddleware(verifierAt()), handler)));
    expect(await call({})).toMatchObject({ status: 401 });
    expect(handler).not.toHaveBeenCalled();
  });

  it('a signed request reaches it once', async () => {
    const handler = vi.fn();
    server = await listen(createServer(await serve(toMiddleware(verifierAt()), handler)));
    const { target, headers } = await signed({ method: 'POST', headers: TYPE, body: Buffer.from('text') });
    expect(await call({ ...headers } as OutgoingHttpHeaders, target)).toEqual({ status: 200, text: 'in' });
    expect(handler).toHaveBeenCalledOnce();
  });
});
