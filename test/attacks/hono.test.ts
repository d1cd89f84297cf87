import { setTimeout as sleep } from 'node:timers/promises';
import { streamUnverifiedBody } from '@authmesh/sdk';
import { getRequestListener } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { methodOverride } from 'hono/method-override';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verify } from '../../src/hono';
import { type Listening, listen } from '../support/listen';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

/** Attacks on Hono on Node, which makes a `Request` of its own of what came over the wire. */

const machines = usePair();
let server: Listening;

const codes = () => machines.rejections.map(({ code }) => code);

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
