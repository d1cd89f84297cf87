import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, openDevice } from '@authmesh/sdk/admin';
import { type Signer, signRequest } from '@authmesh/sdk/core';
import { expect, it, onTestFinished, vi } from 'vitest';
import { signerOf } from '../support/core';
import { workerOf } from '../support/statements';
import { vectors } from '../support/vectors';
import { SOON } from '../support/waiting';

const { controller, stranger } = vectors.devices;

it('a delegate does not extend the lease of its device, and a working key does', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  onTestFinished(() => rm(dir, { recursive: true, maxRetries: 20 }));
  const { deviceId } = await createIdentity(dir, {}, { friendlyName: 'target' });
  const { trust } = await openDevice(dir, {});
  const nowSeconds = Math.floor(Date.now() / 1000);
  const times = { leaseSeconds: 86_400, maxLeaseSeconds: 864_000, issuedAt: nowSeconds };
  const id = 'g'.repeat(22);
  const grant = { id, publicKey: controller.publicKey, names: '*', uses: 2, used: 2, ...times };
  const lease = { grant: id, expiresAt: nowSeconds + 3600, endsAt: nowSeconds + 864_000 };
  await trust.update(async (draft) => {
    draft.change({ grants: [{ ...grant, expiresAt: nowSeconds + 864_000 }] });
    for (const { deviceId, publicKey } of [controller, stranger]) {
      const device = {
        deviceId,
        publicKey,
        friendlyName: deviceId,
        roles: ['controller'] as const,
        hosts: [],
      };
      await draft.put({ ...device, addedAt: nowSeconds, lease });
    }
  });
  const verifier = createAmesh({ dir, env: {} }).verifier({ delegates: true, hosts: ['api.example.com'] });
  const call = async (signer: Signer) => {
    const view = { method: 'GET', target: '/', authority: 'api.example.com', headers: {} };
    return (await verifier.verify(await signRequest(view, signer))).ok;
  };
  const life = { issuedAt: nowSeconds - 300, expiresAt: nowSeconds + 3600 };
  const delegation = { name: 'agent', scopes: ['*'], targets: [deviceId] };
  const lent = await workerOf({ ...life, delegation });
  const whole = await workerOf({ ...life, deviceId: stranger.deviceId }, await signerOf('stranger'));

  expect([await call(lent.signer), await call(whole.signer)]).toEqual([true, true]);
  const endOf = async (id: string) => (await trust.read()).entry(id)?.lease?.expiresAt;
  // Renewals are written together, so the one of the delegate's device would be there as well.
  await vi.waitFor(async () => expect(await endOf(stranger.deviceId)).toBeGreaterThan(lease.expiresAt), SOON);
  expect(await endOf(controller.deviceId)).toBe(lease.expiresAt);
});
