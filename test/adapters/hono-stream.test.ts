import { setTimeout as sleep } from 'node:timers/promises';
import { InMemoryNonceStore, type NonceStore, streamUnverifiedBody } from '@authmesh/sdk';
import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const machines = usePair();
const TEXT = '{"amount":100}';

function storeThatWaits(waitsMs: number): NonceStore {
  const store = new InMemoryNonceStore({ startedAt: 0 });
  if (waitsMs === 0) return store;
  return {
    startedAt: 0,
    async claim(...claimed) {
      await sleep(waitsMs);
      return store.claim(...claimed);
    },
  };
}

/** Each way in which a handler reads a body as text. */
const READERS: Record<string, (c: Context) => Promise<string>> = {
  'c.req.text()': (c) => c.req.text(),
  'c.req.json()': async (c) => JSON.stringify(await c.req.json()),
  'c.req.arrayBuffer()': async (c) => Buffer.from(await c.req.arrayBuffer()).toString(),
  'c.req.blob()': async (c) => (await c.req.blob()).text(),
  'c.req.raw.text()': (c) => c.req.raw.text(),
  'c.req.raw.json()': async (c) => JSON.stringify(await c.req.raw.json()),
  'c.req.raw.body': (c) => new Response(c.req.raw.body).text(),
  'c.req.raw.clone()': (c) => c.req.raw.clone().text(),
  'new Request(c.req.raw)': (c) => new Request(c.req.raw).text(),
};

describe.each([
  ['verify() waits for the nonce store', 30],
  ['verify() does not wait', 0],
])('%s', (_, storeMs) => {
  describe.each([
    ['with the head', 0],
    ['after the head', 60],
  ])('the body comes %s', (_, bodyMs) => {
    let server: Listening | undefined;
    afterEach(() => server?.close());

    it.each(Object.entries(READERS))('%s', async (_, read) => {
      const nonceStore = storeThatWaits(storeMs);
      const app = new Hono();
      app.use(verify({ amesh: machines.target, nonceStore, [streamUnverifiedBody]: true }));
      app.post('/', async (c) => c.text(`${c.get('authMesh').friendlyName} ${await read(c)}`));
      server = await listen(getRequestListener(app.fetch));
      const send = async (body: string) => {
        const signed = await signedRaw(machines.signer, server?.authority as string, {
          method: 'POST',
          body: TEXT,
        });
        const client = await RawClient.connect(server?.port as number);
        const text = [signed.line, ...signed.headers, `Content-Length: ${body.length}`, '', ''].join('\r\n');
        if (bodyMs === 0) client.write(text + body);
        else {
          client.write(text);
          await sleep(bodyMs);
          client.write(body);
        }
        const response = await client.response();
        client.destroy();
        return response;
      };
      expect(await send(TEXT)).toMatchObject({ status: 200, body: `controller ${TEXT}` });
      expect((await send(TEXT.replace('1', '9'))).status).not.toBe(200);
    });
  });
});

describe('a body that the handler', () => {
  let server: Listening | undefined;
  // @hono/node-server closes a connection whose body takes it more than 500 ms to drop, as it may on a busy machine.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(async () => {
    vi.useRealTimers();
    await server?.close();
  });

  it.each(['leaves unread', 'cancels'])('%s does not hold up the next request', async (way) => {
    const app = new Hono();
    app.use(verify({ amesh: machines.target, [streamUnverifiedBody]: true }));
    app.post('/', async (c) => {
      if (way === 'cancels') await c.req.raw.body?.cancel();
      return c.text('done');
    });
    server = await listen(getRequestListener(app.fetch));
    const body = Buffer.alloc(900_000, 7);
    for (let i = 0; i < 3; i++) {
      const response = await machines.controller.fetch(server.origin, { method: 'POST', body });
      expect([response.status, await response.text()]).toEqual([200, 'done']);
    }
    expect(machines.refusals).toEqual([]);
  });
});
