import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { type Middleware, toMiddleware } from '../../src/adapters/express/middleware';
import { signed, verifierAt } from '../support/core';
import { type Listening, listen } from '../support/listen';
import { head, RawClient } from '../support/raw-http';

/**
 * What h3 1 does in `fromNodeMiddleware()`: if a middleware returns nothing, the end of the connection counts as its `next()`. The
 * next handler then runs unless there is a response.
 */
async function passThrough(
  middleware: Middleware,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  await new Promise<unknown>((resolve, reject) => {
    const next = (error?: unknown) => {
      response.off('close', next);
      if (error) reject(error);
      else resolve(undefined);
    };
    const returned: unknown = middleware(request, response, next);
    if (returned === undefined) response.once('close', next);
    else resolve(returned);
  });
  return !(response.writableEnded || response.headersSent);
}

let server: Listening;
afterEach(() => server.close());

async function serve(middleware: Middleware) {
  const handler = vi.fn();
  const closed = vi.fn();
  const refused = vi.fn();
  server = await listen(
    createServer(async (request, response) => {
      response.once('close', closed);
      if (!(await passThrough(middleware, request, response))) {
        refused();
        return;
      }
      handler();
      response.end('in');
    }),
  );
  return { handler, closed, refused };
}

async function sendHead(body: string | null = null): Promise<RawClient> {
  const announced = body === null ? [] : [`Content-Length: ${body.length}`];
  const { target, authority, headers } = await signed({
    method: 'DELETE',
    body: body === null ? null : Buffer.from(body),
  });
  const client = await RawClient.connect(server.port);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  client.write(head(`DELETE ${target} HTTP/1.1`, [`Host: ${authority}`, ...lines, ...announced]));
  return client;
}

it('a client that leaves before the end of its body reaches no handler', async () => {
  const { handler, closed } = await serve(toMiddleware(verifierAt()));
  const client = await sendHead('0123456789');
  await sleep(50);
  client.destroy();
  await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  await sleep(50);
  expect(handler).not.toHaveBeenCalled();
});

it('a client that leaves while a nonce store in the network is asked reaches no handler', async () => {
  const claim = vi.fn(() => sleep(200).then(() => true));
  const { handler, closed } = await serve(toMiddleware(verifierAt({ nonceStore: { claim } })));
  const client = await sendHead();
  await vi.waitFor(() => expect(claim).toHaveBeenCalled());
  client.destroy();
  await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  await sleep(300);
  expect(handler).not.toHaveBeenCalled();
});

it('a refusal that waits for the body reaches no handler', async () => {
  const { handler, refused } = await serve(toMiddleware(verifierAt({ hosts: ['other.example.com'] })));
  const client = await sendHead('0123456789');
  await sleep(50);
  client.write('0123456789');
  expect(await client.response()).toMatchObject({ status: 421 });
  client.destroy();
  await vi.waitFor(() => expect(refused).toHaveBeenCalled()); // so do the hooks of h3
  expect(handler).not.toHaveBeenCalled();
});

it('a client that leaves before its refusal reaches no handler', async () => {
  const { handler, closed } = await serve(toMiddleware(verifierAt({ hosts: ['other.example.com'] })));
  const client = await sendHead('0123456789');
  await sleep(50);
  client.destroy();
  await vi.waitFor(() => expect(closed).toHaveBeenCalled());
  await sleep(50);
  expect(handler).not.toHaveBeenCalled();
});

it('a signed request does', async () => {
  const { handler } = await serve(toMiddleware(verifierAt()));
  const client = await sendHead();
  expect(await client.response()).toMatchObject({ status: 200 });
  client.destroy();
  expect(handler).toHaveBeenCalledOnce();
});
