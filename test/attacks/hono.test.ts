import { setTimeout as sleep } from 'node:timers/promises';
import { streamUnverifiedBody } from '@authmesh/sdk';
import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { methodOverride } from 'hono/method-override';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

/** Attacks on Hono on Node, which makes a `Request` of its own of what came over the wire. */

const machines = usePair();
let server: Listening;

const codes = () => machines.refusals.map(({ code }) => code);

async function serve(prepare: (app: Hono) => unknown): Promise<void> {
  const app = new Hono();
  prepare(app);
  const answer = (c: Context) => c.text(`${c.req.method} as ${c.req.header('content-type')}`);
  app.all('*', verify({ amesh: machines.target }), answer);
  server = await listen(getRequestListener(app.fetch));
}

describe('method override by a header that nobody has signed', () => {
  afterAll(() => server.close());
  beforeAll(() =>
    serve((app) => {
      app.use('/before/*', methodOverride({ app, header: 'x-method' }));
      app.use('/behind/*', verify({ amesh: machines.target }), methodOverride({ app, header: 'x-method' }));
    }),
  );

  it.each([
    ['/before/x', ''],
    ['/before/x', 'abc'],
    ['/behind/x', ''],
    ['/behind/x', 'abc'],
  ])('%s, body "%s"', async (target, body) => {
    const request = { method: 'POST', target, body };
    const { line, headers, body: bytes } = await signedRaw(machines.signer, server.authority, request);
    const lines = [...headers, `Content-Length: ${bytes.length}`];
    const response = await exchange(server.port, head(line, [...lines, 'X-Method: DELETE']), bytes);
    expect(response.status).toBe(401);
    expect(codes()).toEqual(['invalid_signature']);

    const again = await signedRaw(machines.signer, server.authority, request);
    const untouched = [...again.headers, `Content-Length: ${bytes.length}`];
    expect((await exchange(server.port, head(line, untouched), bytes)).body).toMatch(/^POST/);
  });
});

describe('dot segments, which the server removes before it routes', () => {
  afterAll(() => server.close());
  beforeAll(() =>
    serve((app) => app.all('/admin', verify({ amesh: machines.target }), (c) => c.text(c.req.url))),
  );

  const send = async (signedTarget: string, sentTarget: string, authority = server.authority) => {
    const { headers } = await signedRaw(machines.signer, server.authority, { target: signedTarget });
    const sent = headers.map((line) => (line.startsWith('Host: ') ? `Host: ${authority}` : line));
    return exchange(server.port, head(`GET ${sentTarget} HTTP/1.1`, sent));
  };

  it.each([
    '/users/../admin',
    '/users/%2e%2E/admin',
    '/./admin',
    '/users/x/.././../admin',
    '/users/..//..//admin',
  ])('%s leads only to what was signed', async (target) => {
    expect((await send(target, target)).status).toBe(401);
    expect(codes()).toEqual(['invalid_signature']);
    expect((await send('/users', target)).status).toBe(401);
  });

  it('lead to what was signed', async () => {
    expect((await send('/admin', '/users/../admin')).body).toBe(`${server.origin}/admin`);
    expect((await send('/admin?x=/../y', '/admin?x=/../y')).body).toBe(`${server.origin}/admin?x=/../y`);
    expect((await send('/admin?x="/../', '/admin?x="/../')).status).toBe(200);
  });

  it.each(['http://evil.example/../admin', '/users/../admin#x', '*/../admin'])(
    '%s is refused',
    async (target) => {
      expect((await send('/admin', target)).status).toBe(400);
    },
  );
});

describe('bytes before the signed ones, read while a nonce store in the network is asked', () => {
  afterAll(() => server.close());
  let read: string[];
  beforeAll(async () => {
    read = [];
    const app = new Hono();
    app.use(async (c, next) => {
      void c.req.raw.body; // from now on Node's stream is read into this one
      await next();
    });
    const nonceStore = { claim: () => sleep(200).then(() => true) };
    app.use(verify({ amesh: machines.target, nonceStore, [streamUnverifiedBody]: true }));
    app.post('/', async (c) => {
      const text = await c.req.text();
      read.push(text);
      return c.text('');
    });
    server = await listen(getRequestListener(app.fetch));
  });

  it('reach no handler', async () => {
    const { line, headers } = await signedRaw(machines.signer, server.authority, {
      method: 'POST',
      body: 'signed',
    });
    const client = await RawClient.connect(server.port);
    client.write(head(line, [...headers, 'Transfer-Encoding: chunked']), '8\r\nunsigned\r\n');
    await sleep(400);
    client.write('6\r\nsigned\r\n0\r\n\r\n');
    const { status } = await client.response();
    client.destroy();
    expect(read).toEqual([]);
    expect(status).toBe(500);
    expect(codes()).toEqual(['body_parser_ordering_error']);
  });
});
