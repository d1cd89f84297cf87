import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, createVerifier, type Signer } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { signerOf } from '../support/core';
import { exchange, head } from '../support/raw-http';
import { startRecorder } from '../support/recorder';
import type { RuntimeServer } from '../support/runtime-server';
import { signedRaw } from '../support/signed-raw';
import { LENT, workerOf } from '../support/statements';
import { vectorAllowList, vectors } from '../support/vectors';
import { SOON } from '../support/waiting';
import { type Kv, startKv, startWorker } from '../support/worker';
import { DEVICES, runtime, sealedList } from './workerd';

const { controller, target } = vectors.devices;
const owner = { AMESH_OWNER_KEY: target.publicKey };
/** Read anew three times a second. */
const MAX_STALE = 2;

const at = (worker: RuntimeServer, path: string) => `http://127.0.0.1:${worker.port}${path}`;

/** Asks until the answer has a status, or a time is over. */
async function until(status: number, ask: () => Promise<Response>, withinMs = 10_000): Promise<Response> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const response = await ask();
    if (response.status === status || performance.now() > deadline) return response;
    await response.arrayBuffer();
    await sleep(100);
  }
}

describe.skipIf(runtime === null)('a Worker', () => {
  let signer: Signer;
  let call: (url: string, init?: RequestInit) => Promise<Response>;
  const running: { close(): Promise<void> }[] = [];

  const started = async <T extends { close(): Promise<void> }>(starting: Promise<T>): Promise<T> => {
    const server = await starting;
    running.push(server);
    return server;
  };

  beforeAll(async () => {
    signer = await signerOf('controller');
    call = createClient({ signer, targetOf: () => target.deviceId }).fetch;
  });
  afterAll(async () => {
    await Promise.all(running.map((server) => server.close()));
  });

  describe('with its list in KV and its nonces in Durable Objects', () => {
    let kv: Kv;
    let worker: RuntimeServer;
    let fifth: string; // sealed once: a second seal over the same would be another document

    beforeAll(async () => {
      fifth = await sealedList({ revision: 5 });
      kv = await started(startKv(await sealedList()));
      const variables = { ...owner, MAX_STALE: String(MAX_STALE) };
      worker = await started(startWorker(variables, { kv, nonces: 'in memory' }));
    });

    const put = () => call(at(worker, '/orders'), { method: 'PUT', body: 'grüße' });

    it.each(['/orders', '/hono/orders'])('hands the caller to the handler: %s', async (path) => {
      const response = await call(at(worker, path), { method: 'POST', body: 'grüße' });
      expect(response.status).toBe(200);
      expect(response.headers.get('cache-control')).toBe('private');
      expect(await response.json()).toEqual({ by: 'controller', body: 'grüße' });
    });

    it('refuses everybody else, and says why in its log', async () => {
      const stranger = createClient({ signer: await signerOf('stranger'), targetOf: () => target.deviceId });
      for (const fetch of [stranger.fetch, globalThis.fetch]) {
        const response = await fetch(at(worker, '/orders'));
        expect(response.status).toBe(401);
        expect(await response.json()).toEqual({ error: 'unauthorized' });
      }
      await vi.waitFor(() => expect(worker.stderr()).toContain('amesh: refused 401 unknown_device'), SOON);
      expect(worker.stderr()).not.toContain('AUTH_MESH_DIR');
    });

    it('accepts exactly one of 100 concurrent copies', async () => {
      const { line, headers } = await signedRaw(
        signer,
        `127.0.0.1:${worker.port}`,
        {},
        { targetDeviceId: target.deviceId },
      );
      const copies = Array.from({ length: 100 }, () => exchange(worker.port, head(line, headers)));
      const statuses = (await Promise.all(copies)).map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 401)).toHaveLength(99);
    });

    it('a second verify() on a route checks its own require, with one claim and one list', async () => {
      const devices = (scopes: string[]) => DEVICES.map((device) => ({ ...device, scopes }));
      const { reads } = kv;
      const post = (path: string) => call(at(worker, path), { method: 'POST', body: 'grüße' });
      expect([(await post('/hono/read')).status, (await post('/hono/write')).status]).toEqual([403, 403]);
      expect(kv.reads - reads).toBeLessThan(4); // that of the interval, and not one for each verify()
      kv.value = await sealedList({ revision: 2, devices: devices(['orders:read']) });
      const allowed = await until(200, () => post('/hono/read'));
      expect(await allowed.json()).toEqual({ scopes: ['orders:read'], body: 'grüße' });
      const refused = await post('/hono/write');
      expect(refused.status).toBe(403);
      expect(await refused.json()).toEqual({ error: 'scope_missing', scope: 'orders:write' });
      await vi.waitFor(() => expect(worker.stderr()).toContain('amesh: refused 403 scope_missing'), SOON);
    });

    it('applies a revocation', async () => {
      kv.value = await sealedList({ revision: 3, devices: [] });
      expect((await until(401, put)).status).toBe(401);
      kv.value = await sealedList({ revision: 4 });
      expect((await until(200, put)).status).toBe(200);
    });

    it('ignores an older list than it has seen, and refuses everybody after maxStaleSeconds', async () => {
      kv.value = await sealedList({ revision: 2, devices: [] });
      await sleep(700);
      expect((await put()).status).toBe(200);
      const response = await until(503, put);
      expect(response.status).toBe(503);
      expect(await response.json()).toEqual({ error: 'allow_list_unavailable' });
      kv.value = fifth;
      expect((await until(200, put)).status).toBe(200);
    });

    it('continues while KV is down, for maxStaleSeconds', async () => {
      kv.value = 'down';
      await sleep(700);
      const { reads } = kv;
      expect((await put()).status).toBe(200);
      const response = await until(503, put);
      expect(response.status).toBe(503);
      expect(await response.json()).toEqual({ error: 'allow_list_unavailable' });
      expect(kv.reads).toBeGreaterThan(reads);
      kv.value = fifth;
      expect((await until(200, put)).status).toBe(200);
    });

    const attacks: Record<string, () => Promise<string>> = {
      'sealed by another': () => sealedList({ revision: 9, list: target.deviceId }, 'stranger'),
      'for another device': () => sealedList({ revision: 9, list: controller.deviceId }),
      'changed inside its seal': async () =>
        (await sealedList({ revision: 9 })).replace('"revision":9', '"revision":8'),
      'without a seal': async () => (await sealedList({ revision: 9 })).replace(/,"seal":"[^"]*"/, ''),
      'of the same revision with other content': () => sealedList({ revision: 5, updatedAt: 1 }),
    };
    it.each(Object.entries(attacks))('uses no list %s', async (_what, list) => {
      kv.value = await list();
      const response = await until(500, put);
      expect(response.status).toBe(500);
      expect(await response.json()).toEqual({ error: 'allow_list_integrity_failure' });
      kv.value = fifth;
      expect((await until(200, put)).status).toBe(200);
    });

    it('treats a list that is gone like one that cannot be read', async () => {
      kv.value = null;
      expect((await until(503, put)).status).toBe(503);
      kv.value = fifth;
      expect((await until(200, put)).status).toBe(200);
    });

    it('reads the list a few times in a while, and not for each request', async () => {
      const before = kv.reads;
      for (let i = 0; i < 50; i++) expect((await put()).status).toBe(200);
      expect(kv.reads - before).toBeLessThan(25);
    });
  });

  it('a cold start while KV is down is 503, also for many at once, and ends when KV is back', async () => {
    const kv = await started(startKv('down'));
    const worker = await started(startWorker({ ...owner, MAX_STALE: '60' }, { kv, nonces: 'in memory' }));
    const get = () => call(at(worker, '/'));
    for (const response of await Promise.all([get(), get(), get()])) expect(response.status).toBe(503);
    kv.value = await sealedList();
    expect((await until(200, get)).status).toBe(200);
  });

  it('a cold start under load makes nobody wait for a list that another request reads', async () => {
    const kv = await started(startKv(await sealedList()));
    const worker = await started(startWorker({ ...owner, MAX_STALE: '60' }, { kv, nonces: 'in memory' }));
    const responses = await Promise.all(Array.from({ length: 20 }, () => call(at(worker, '/'))));
    expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200));
  });

  it('a list in a variable works, and a memory store says once what it cannot do', async () => {
    // As $(cat allow_list.json) gives it, without the newline.
    const list = (await sealedList()).trim();
    const worker = await started(startWorker({ ...owner, AMESH_ALLOW_LIST: list }));
    expect((await call(at(worker, '/'))).status).toBe(200);
    expect((await call(at(worker, '/hono/orders'), { method: 'POST', body: 'x' })).status).toBe(200);
    expect(worker.stderr().match(/Using in-memory nonce store/g)).toHaveLength(1);
  });

  it('warns in its log before the end of a device that calls, once', async () => {
    const expiresAt = Math.floor(Date.now() / 1000) + 3 * 86_400;
    const list = await sealedList({ devices: DEVICES.map((device) => ({ ...device, expiresAt })) });
    const worker = await started(startWorker({ ...owner, AMESH_ALLOW_LIST: list }));
    for (let i = 0; i < 3; i++) expect((await call(at(worker, '/'))).status).toBe(200);
    const path = '/hono/orders'; // another verifier of the same isolate
    expect((await call(at(worker, path), { method: 'POST', body: 'x' })).status).toBe(200);
    const line = /amesh: The trust in a device ends within 7 days: "controller" \(am_/g;
    await vi.waitFor(() => expect(worker.stderr().match(line)).toHaveLength(1), SOON);
  });

  it.each(['KV', 'a variable'])(
    'refuses the delegates and working keys that its list in %s revokes',
    async (place) => {
      const nowSeconds = Math.floor(Date.now() / 1000);
      const life = { issuedAt: nowSeconds - 300, expiresAt: nowSeconds + 3600 };
      const [kept, gone] = [
        await workerOf({ ...life, delegation: LENT }),
        await workerOf({ ...life, delegation: LENT }),
      ];
      const cut = await workerOf({ ...life, issuedAt: nowSeconds - 301 });
      const devices = DEVICES.map((device) => ({ ...device, keysSince: nowSeconds - 300 }));
      const list = await sealedList({ ended: [[gone.claims.id, nowSeconds + 90_000]], devices });
      const variables = { ...owner, DELEGATES: 'yes' };
      const worker = await started(
        place === 'KV'
          ? startWorker(variables, { kv: await started(startKv(list)), nonces: 'in memory' })
          : startWorker({ ...variables, AMESH_ALLOW_LIST: list }),
      );
      for (const [caller, status] of [
        [kept, 200],
        [gone, 401],
        [cut, 401],
      ] as const) {
        const { fetch } = createClient({ signer: caller.signer, targetOf: () => target.deviceId });
        expect((await fetch(at(worker, '/'))).status).toBe(status);
      }
      await vi.waitFor(() => expect(worker.stderr()).toContain('refused 401 delegate_revoked'), SOON);
      await vi.waitFor(() => expect(worker.stderr()).toContain('refused 401 key_statement_invalid'), SOON);
    },
    60_000,
  );

  it('AMESH_HOSTS and AMESH_DEVICE_ID apply', async () => {
    const list = await sealedList({ list: controller.deviceId });
    const variables = {
      ...owner,
      AMESH_ALLOW_LIST: list,
      AMESH_DEVICE_ID: controller.deviceId,
      AMESH_HOSTS: 'api.example.com',
    };
    const worker = await started(startWorker(variables));
    const { fetch } = createClient({ signer });
    expect((await fetch(at(worker, '/'))).status).toBe(421);
    const { line, headers } = await signedRaw(signer, 'api.example.com', {
      headers: { 'authmesh-target': controller.deviceId },
    });
    expect((await exchange(worker.port, head(line, headers))).status).toBe(200);
  });

  it.each([
    ['no list', {}, 'There is no allow list: bind a KV namespace as AMESH_ALLOW_LIST.'],
    ['no owner', { AMESH_ALLOW_LIST: '{}' }, 'There is no ownerKey (AMESH_OWNER_KEY)'],
    ['enroll', { AMESH_ALLOW_LIST: '{}', ...owner, ENROLL: '1' }, 'enroll needs the private key'],
    ['a wrong host', { AMESH_ALLOW_LIST: '{}', ...owner, AMESH_HOSTS: 'https://x' }, 'AMESH_HOSTS is wrong'],
  ])(
    'accepts nobody if there is %s, and says so',
    async (_what, variables, line) => {
      const worker = await started(startWorker({ ...variables, MAX_STALE: '60' }));
      expect((await call(at(worker, '/'))).status).toBe(500);
      await vi.waitFor(() => expect(worker.stderr()).toContain(line), SOON);
    },
    60_000,
  );

  it.each(['secret', 'non-extractable'])(
    'signs with a key that is %s',
    async (kind) => {
      const recorder = await started(startRecorder());
      const verifier = createVerifier({ allowList: { ...vectorAllowList, hosts: [recorder.authority] } });
      recorder.answer = async (request, response) => {
        const verdict = await verifier.verify(request);
        response.statusCode = verdict.ok ? 200 : verdict.answer.status;
        response.end(verdict.ok ? `${verdict.caller.friendlyName}: ${request.body}` : verdict.code);
      };
      const worker = await started(startWorker({ DEVICE_KEY: JSON.stringify(controller.privateKeyJwk) }));
      const response = await fetch(
        at(worker, `/call?kind=${kind}&url=${encodeURIComponent(recorder.origin)}`),
      );
      expect(await response.json()).toEqual({ status: 200, text: 'controller: from a Worker' });
    },
    60_000,
  );
});
