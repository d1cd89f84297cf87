import { createClient } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signRotation } from '../../src/core/rotation/rotation';
import { signerOf } from '../support/core';
import { requestOf } from '../support/rotating';
import type { RuntimeServer } from '../support/runtime-server';
import { vectors } from '../support/vectors';
import { type Kv, startKv, startWorker } from '../support/worker';
import { runtime, sealedList } from './workerd';

const { controller, stranger, target } = vectors.devices;
const inAMonth = Math.floor(Date.now() / 1000) + 2_592_000;
const common = { friendlyName: 'laptop', hosts: [], addedAt: 1_764_000_000 };

/** The vectors' controller was replaced by the stranger. */
const DEVICES = [
  {
    ...common,
    deviceId: controller.deviceId,
    publicKey: controller.publicKey,
    roles: [],
    next: stranger.deviceId,
    retiresAt: inAMonth,
  },
  {
    ...common,
    deviceId: stranger.deviceId,
    publicKey: stranger.publicKey,
    roles: ['controller' as const],
    was: [controller.deviceId],
  },
].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));

describe.skipIf(runtime === null)('a Worker whose list has a device with another key', () => {
  let kv: Kv;
  let worker: RuntimeServer;
  beforeAll(async () => {
    kv = await startKv(await sealedList({ devices: DEVICES }));
    worker = await startWorker({ AMESH_OWNER_KEY: target.publicKey }, { kv, nonces: 'in memory' });
  });
  afterAll(async () => {
    await worker?.close();
    await kv?.close();
  });

  const at = (path: string) => `http://127.0.0.1:${worker.port}${path}`;

  it.each(['/orders', '/hono/orders'])('lets both keys call: %s', async (path) => {
    for (const key of ['controller', 'stranger'] as const) {
      const { fetch } = createClient({ signer: await signerOf(key), targetOf: () => target.deviceId });
      const response = await fetch(at(path), { method: 'POST', body: 'x' });
      expect([response.status, await response.json()]).toEqual([200, { by: 'laptop', body: 'x' }]);
      expect(response.headers.get('authmesh-rotation')).toBeNull();
    }
  });

  it('answers "unavailable" to each next key, and accepts none', async () => {
    const [former, next] = await Promise.all([signerOf('controller'), signerOf('stranger')]);
    const told = { former, next, targetId: target.deviceId, nowMs: Date.now() };
    for (const rotation of [await signRotation(told), `withdraw=${stranger.deviceId}`, 'x']) {
      const authority = `127.0.0.1:${worker.port}`;
      const { headers } = await requestOf(former, {
        rotation,
        authority,
        path: '/orders',
        targetId: target.deviceId,
      });
      const response = await fetch(at('/orders'), { headers });
      expect([response.status, response.headers.get('authmesh-rotation')]).toEqual([200, 'unavailable']);
    }
  });
});
