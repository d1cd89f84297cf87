import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createVerifier, InMemoryNonceStore, type Signer } from '@authmesh/sdk/core';
import { verify } from '@authmesh/sdk/hono';
import { withAmesh } from '@authmesh/sdk/workers';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import { Hono } from 'hono';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Subject } from '../contract/subject';
import { signerOf } from '../support/core';
import { connectHttp2, http2Exchange } from '../support/http2';
import { invoke, type LambdaSource, lambdaAdapters, lambdaSources } from '../support/lambda';
import { listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';
import { requireRuntime, serverRuntimes, startServer } from '../support/runtime-server';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';
import { vectorAllowList, vectors } from '../support/vectors';

/** Names of the machine itself, none of which is where these servers listen. */
const ELSEWHERE = [
  'localhost:3000',
  '127.9.9.9:1',
  'evil.localhost',
  'localhost',
  '[::1]:3000',
  'a.localhost:1',
];
const WHO = { 'authmesh-target': vectors.devices.target.deviceId };

async function statusAt(
  signer: Signer,
  port: number,
  authority: string,
  target: string,
  headers: Record<string, string> = {},
): Promise<number> {
  const signed = await signedRaw(signer, authority, { target, headers });
  return (await exchange(port, head(signed.line, signed.headers))).status;
}

for (const name of serverRuntimes.filter((runtime) => runtime !== 'node')) {
  const runtime = await requireRuntime(name);
  describe.skipIf(runtime === null)(`without hosts on ${name}`, () => {
    let server: Awaited<ReturnType<typeof startServer>>;
    let signer: Signer;
    beforeAll(async () => {
      signer = await signerOf('controller');
      if (runtime !== null)
        server = await startServer(
          runtime,
          `test/adapters/servers/${name === 'workerd' ? 'worker-' : ''}loopback.ts`,
        );
      return () => server?.close();
    });

    describe.each(['/hono', '/handler', '/alone'])('%s', (path) => {
      it.each(ELSEWHERE)('%s is refused', async (authority) => {
        expect(await statusAt(signer, server.port, authority, path)).toBe(421);
      });

      it('its own port is accepted if the runtime reveals it', async () => {
        const isTold = name === 'bun' && path !== '/alone';
        const own = `localhost:${server.port}`;
        expect(await statusAt(signer, server.port, own, path)).toBe(isTold ? 200 : 421);
      });

      it('a request that names this device is accepted', async () => {
        expect(await statusAt(signer, server.port, 'localhost:3000', path, WHO)).toBe(200);
      });
    });
  });
}

describe('without hosts on Node', () => {
  const machines = usePair();

  it.each(ELSEWHERE)('a handler that gets only a Request refuses %s', async (authority) => {
    const app = new Hono().use(verify({ amesh: machines.target }));
    app.all('*', (c) => c.text('in'));
    const handler = withAmesh(() => new Response('in'), { amesh: machines.target });
    for (const fetch of [(request: Request) => app.fetch(request), handler]) {
      const server = await listen(getRequestListener(fetch));
      expect(await statusAt(machines.signer, server.port, authority, '/')).toBe(421);
      expect(await statusAt(machines.signer, server.port, server.authority, '/')).toBe(421);
      await server.close();
    }
    expect(machines.refusals[0]).toMatchObject({ code: 'wrong_host' });
    expect(machines.refusals[0]?.fix).toBe(
      `If callers use it: amesh config hosts ${authority}, or AMESH_HOSTS, or pair: the port is unknown`,
    );
  });

  it('its own port is accepted if somebody passes it', async () => {
    const verifier = machines.target.verifier();
    const { line, headers } = await signedRaw(machines.signer, 'localhost:3000');
    expect(line).toBe('GET / HTTP/1.1');
    const request = new Request('http://localhost:3000/', {
      headers: headers.slice(1).map((field) => field.split(/: (.*)/s).slice(0, 2) as [string, string]),
    });
    expect(await verifier.verify(request, { localPort: 4000 })).toMatchObject({ code: 'wrong_host' });
    expect(await verifier.verify(request, { localPort: 3000 })).toMatchObject({ ok: true });
  });

  it('a Unix socket has no port', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'amesh-socket-'));
    const path = join(folder, 's');
    const app = express().use(machines.target.verify());
    app.get('/', (_req, res) => void res.send('in'));
    const server = createServer(app);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    for (const authority of ['localhost', 'localhost:3000']) {
      const { line, headers } = await signedRaw(machines.signer, authority);
      const socket = connect(path).end(head(line, [...headers, 'Connection: close']));
      expect(await text(socket)).toMatch(/^HTTP\/1.1 421 /);
    }
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });

  it('HTTP/2 has one', async () => {
    const app = new Hono().use(verify({ amesh: machines.target }));
    app.all('*', (c) => c.text('in'));
    const { session, port, close } = await connectHttp2(createHttp2Server(getRequestListener(app.fetch)));
    for (const [authority, status] of [
      [`localhost:${port}`, 200],
      ['localhost:3000', 421],
      ['localhost', 421],
    ] as const) {
      const { headers } = await signedRaw(machines.signer, authority);
      const signed = headers.slice(1).map((field) => field.toLowerCase().slice(0, field.indexOf(':')));
      const values = headers.slice(1).map((field) => field.slice(field.indexOf(': ') + 2));
      const fields = Object.fromEntries(signed.map((name, i) => [name, values[i] as string]));
      const line = { ':method': 'GET', ':path': '/', ':authority': authority };
      expect((await http2Exchange(session, { ...line, ...fields })).status).toBe(status);
    }
    await close();
  });
});

describe.each(lambdaAdapters)('without hosts, behind $name on Lambda', ({ create }) => {
  const verifier = createVerifier({
    allowList: { ...vectorAllowList, hosts: [] },
    nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
  });
  // The contract's application over this verifier; of the rest of a subject only what a handler calls is there.
  const handler = create({
    verifier: () => verifier,
    control: () => '',
    seen: async () => ({}),
  } as unknown as Subject);
  async function statusOf(source: LambdaSource, authority: string, extra: Record<string, string> = {}) {
    const { headers } = await signedRaw(await signerOf('controller'), authority, { headers: extra });
    const fields = headers.map((field) => field.split(/: (.*)/s).slice(0, 2) as [string, string]);
    const request = { method: 'GET', target: '/', headers: fields };
    return (await invoke(await handler, request, source)).status;
  }

  it.each(lambdaSources)('no loopback name is accepted from the event of a %s', async (source) => {
    for (const authority of ELSEWHERE) expect(await statusOf(source, authority), authority).toBe(421);
  });

  it('a request that names this device is accepted', async () => {
    expect(await statusOf('function URL 2.0', 'localhost:3000', WHO)).toBe(200);
  });
});
