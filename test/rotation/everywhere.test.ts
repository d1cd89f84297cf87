import type { RequestListener } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createAmesh } from '@authmesh/sdk';
import { revokeDevice, setHosts } from '@authmesh/sdk/admin';
import type { Authenticated } from '@authmesh/sdk/express';
import express from 'express';
import { handle } from 'hono/aws-lambda';
import serverlessHttp from 'serverless-http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { acceptSuccessor } from '../../src/trust/rotation/successor';
import { honoApps } from '../bootstrap/everywhere/apps';
import { instance, KINDS, LIKE_OTHERS } from '../bootstrap/everywhere/kinds';
import { expressApps } from '../bootstrap/everywhere/node-apps';
import { Machine } from '../cli/amesh';
import { times } from '../support/full';
import { connectHttp2, http2Exchange } from '../support/http2';
import { invoke, type LambdaHandler } from '../support/lambda';
import { listen } from '../support/listen';
import { Backend, RunningProxy } from '../support/proxied';
import { exchange, head } from '../support/raw-http';
import { type Key, newKey, type RotatingTarget, requestOf, rotatingTarget } from '../support/rotating';
import { requireRuntime } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { workerOf } from '../support/statements';

type Line = readonly [name: string, value: string];
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}
interface Server {
  /** Where it is called. */
  readonly authority: string;
  /** Sends `GET /api` with these lines, as they are. */
  send(lines: readonly Line[]): Promise<Answer>;
  close(): Promise<void>;
}
interface Kind {
  readonly name: string;
  readonly runtime: Runtime['name'];
  readonly needsHosts?: boolean;
  /** Whether nobody behind it sees a field without a value. */
  readonly dropsEmpty?: boolean;
  start(dir: string): Promise<Server>;
}

/** Behind a port, by HTTP/1.1. */
async function onPort(starting: Promise<{ port: number; close(): Promise<void> }>): Promise<Server> {
  const { port, close } = await starting;
  const authority = `127.0.0.1:${port}`;
  const send = (lines: readonly Line[]) =>
    exchange(
      port,
      head('GET /api HTTP/1.1', [
        `Host: ${authority}`,
        'X-App: off',
        ...lines.map(([name, value]) => `${name}: ${value}`),
      ]),
    );
  return { authority, send, close };
}

const bare = (dir: string): RequestListener => {
  const verify = instance(dir).verify();
  return (request, response) =>
    verify(request, response, () =>
      response.end(`passed ${(request as Authenticated<typeof request>).authMesh.friendlyName}`),
    );
};

/** In a Lambda behind an API Gateway. */
const onLambda = (name: string, create: (dir: string) => LambdaHandler): Kind => ({
  name,
  runtime: 'node',
  async start(dir) {
    const handler = create(dir);
    const authority = 'api.example.com';
    const more: readonly Line[] = [
      ['host', authority],
      ['x-app', 'off'],
    ];
    return {
      authority,
      send: (lines) =>
        invoke(handler, { method: 'GET', target: '/api', headers: [...more, ...lines] }, 'HTTP API 2.0'),
      close: async () => {},
    };
  },
});
const behindGateway = (dir: string) =>
  createAmesh({ dir, env: {}, hosts: ['api.example.com'], onRefusal() {} });

const SERVERS: readonly Kind[] = [
  ...[...KINDS, ...LIKE_OTHERS.filter(({ runtime }) => times(runtime === 'node', true))].map((kind) => ({
    ...kind,
    start: (dir: string) => onPort(kind.start(dir)),
  })),
  { name: 'node:http', runtime: 'node', start: (dir) => onPort(listen(bare(dir))) },
  {
    name: 'node:http2',
    runtime: 'node',
    async start(dir) {
      const { port, session, close } = await connectHttp2(createHttp2Server(bare(dir) as never));
      const authority = `127.0.0.1:${port}`;
      const line = { ':method': 'GET', ':path': '/api', ':authority': authority };
      const send = (lines: readonly Line[]) => {
        const headers: Record<string, string | string[]> = {};
        for (const [name, value] of lines)
          headers[name] = headers[name] === undefined ? value : [headers[name], value].flat();
        return http2Exchange(session, { ...line, ...headers });
      };
      return { authority, send, close };
    },
  },
  {
    name: 'amesh proxy --protect',
    runtime: 'node',
    needsHosts: true,
    dropsEmpty: false,
    async start(dir) {
      const backend = await new Backend((_, response) => response.end('ok')).listen();
      const machine = new Machine(dir);
      const proxy = new RunningProxy(machine, ['--protect', backend.origin, '--listen', '127.0.0.1:0']);
      await proxy.start();
      const close = async () => {
        await proxy.end();
        backend.close();
      };
      return onPort(Promise.resolve({ port: proxy.port, close }));
    },
  },
  onLambda('Express on Lambda', (dir) => {
    const handler = serverlessHttp(expressApps(express, behindGateway(dir)).off as never);
    return async (event) => handler(event, {});
  }),
  {
    ...onLambda('Hono on Lambda', (dir) => {
      const handler = handle({ fetch: honoApps(behindGateway(dir)).off } as never);
      return async (event) => handler(event as never, {} as never);
    }),
    dropsEmpty: true,
  },
];

for (const kind of SERVERS) {
  const runtime = await requireRuntime(kind.runtime);
  describe.skipIf(runtime === null)(`rotations at ${kind.name}`, () => rotationsAt(kind));
}

function rotationsAt(kind: Kind): void {
  let target: RotatingTarget;
  let server: Server;
  let caller: Key;
  let next: Key;

  beforeAll(async () => {
    target = await rotatingTarget();
    server = await kind.start(target.dir);
    if (kind.needsHosts) await target.trust.update((list) => setHosts(list, [server.authority]));
  });
  afterAll(async () => {
    await server?.close();
    await target?.remove();
  });
  beforeEach(async () => {
    [caller, next] = [await newKey(), await newKey()];
    await target.add(caller, 'laptop');
    // The server looks at its list again after 250 ms.
    await expect.poll(async () => (await call(caller)).status).toBe(200);
  });

  /** The lines of a signed request. */
  async function linesOf(by: Key | Parameters<typeof requestOf>[0], rotation?: string): Promise<Line[]> {
    const { authority } = server;
    const { headers } = await requestOf(by, { rotation, authority, path: '/api' });
    return Object.entries(headers);
  }
  async function call(by: Parameters<typeof requestOf>[0], rotation?: string) {
    const { status, headers } = await server.send(await linesOf(by, rotation));
    return { status, answer: headers['authmesh-rotation'] };
  }
  const nextOf = async () => {
    const { devices } = { devices: await target.list() };
    const named = devices.find(({ deviceId }) => deviceId === caller.deviceId)?.next;
    return devices.find(({ deviceId }) => deviceId === named)?.deviceId; // undefined once it was withdrawn
  };
  const changed = (lines: readonly Line[], change: (value: string) => string | null): Line[] =>
    lines.flatMap(([name, value]): Line[] => {
      const other = name === 'authmesh-rotation' ? change(value) : value;
      return other === null ? [] : [[name, other]];
    });

  it('are told to the target and accepted', async () => {
    const rotation = await target.statement(caller, next);
    expect(await call(caller, rotation)).toEqual({ status: 200, answer: 'waiting' });
    expect((await call(next)).status).toBe(401);
    await target.trust.update((draft) =>
      acceptSuccessor(draft, next.deviceId, Math.floor(Date.now() / 1000)),
    );
    await expect.poll(async () => (await call(next)).status).toBe(200);
    expect(await call(caller, rotation)).toEqual({ status: 200, answer: 'accepted' });
    expect(await call(caller)).toEqual({ status: 200, answer: undefined });
  });

  it('are refused if their field was changed, removed, added or doubled in between', async () => {
    const rotation = await target.statement(caller, next);
    const other = await target.statement(caller, await newKey());
    const signed = () => linesOf(caller, rotation);
    const sent: readonly (readonly Line[])[] = [
      changed(await signed(), () => other),
      changed(await signed(), (value) => `${value.slice(0, -1)}${value.endsWith('A') ? 'B' : 'A'}`),
      changed(await signed(), () => `withdraw=${next.deviceId}`),
      changed(await signed(), () => null),
      [...(await linesOf(caller)), ['authmesh-rotation', rotation]],
      ...(kind.dropsEmpty ? [] : [[...(await linesOf(caller)), ['authmesh-rotation', ''] as const]]),
      [...(await signed()), ['authmesh-rotation', rotation]],
      [...(await signed()), ['AuthMesh-Rotation', other]],
    ];
    for (const lines of sent) {
      const { status, headers } = await server.send(lines);
      expect([400, 401]).toContain(status);
      expect(headers).not.toHaveProperty('authmesh-rotation');
    }
    expect(await nextOf()).toBeUndefined();
  });

  it('are accepted once from a request that is sent twice, and from no other device', async () => {
    const rotation = await target.statement(caller, next);
    const lines = await linesOf(caller, rotation);
    expect((await server.send(lines)).status).toBe(200);
    expect((await server.send(lines)).status).toBe(401);
    const other = await newKey();
    await target.add(other, 'other');
    await expect.poll(async () => (await call(other)).status).toBe(200);
    expect(await call(other, rotation)).toEqual({ status: 200, answer: 'refused' });
    expect((await call(next, rotation)).status).toBe(401);
    expect(await nextOf()).toBe(next.deviceId);
  });

  it('are refused for another target, from the past or the future, and as something else', async () => {
    const { deviceId } = await newKey();
    const day = 86_400_000;
    for (const rotation of [
      await target.statement(caller, next, { targetId: deviceId }),
      await target.statement(caller, next, { targetId: caller.deviceId }),
      await target.statement(caller, next, { nowMs: Date.now() - 30 * day - 5000 }),
      await target.statement(caller, next, { nowMs: Date.now() + 330_000 }),
      await target.statement(next, caller),
      'x',
      `withdraw=${next.deviceId}`,
      `retire=${next.deviceId}`,
    ])
      expect(await call(caller, rotation)).toEqual({ status: 200, answer: 'refused' });
    expect(await nextOf()).toBeUndefined();
  });

  it('are withdrawn only by the device key, forever', async () => {
    const rotation = await target.statement(caller, next);
    const now = Math.floor(Date.now() / 1000);
    const { signer } = await workerOf(
      { deviceId: caller.deviceId, issuedAt: now - 300, expiresAt: now + 600 },
      caller,
    );
    expect(await call(signer, rotation)).toEqual({ status: 200, answer: 'waiting' });
    expect(await call(signer, `withdraw=${next.deviceId}`)).toEqual({ status: 200, answer: 'refused' });
    expect(await nextOf()).toBe(next.deviceId);
    expect(await call(caller, `withdraw=${next.deviceId}`)).toEqual({ status: 200, answer: 'withdrawn' });
    expect(await nextOf()).toBeUndefined();
    expect(await call(caller, rotation)).toEqual({ status: 200, answer: 'refused' });
  });

  it('end with the device, and a second next key ends it', async () => {
    const rotation = await target.statement(caller, next);
    await call(caller, rotation);
    const thief = await newKey();
    expect(await call(caller, await target.statement(caller, thief))).toEqual({
      status: 200,
      answer: 'refused',
    });
    for (const key of [caller, next, thief]) expect((await call(key, rotation)).status).toBe(401);
    const other = await newKey();
    await target.add(other, 'other');
    await target.trust.update((draft) => revokeDevice(draft, other.deviceId, Math.floor(Date.now() / 1000)));
    expect((await call(other, await target.statement(other, next))).status).toBe(401);
  });
}
