import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, openDevice, resetTrust } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { newPrivateKey, toSigner } from '../../src/core/crypto/node';
import { beforeLock } from '../support/before-lock';

let root = '';
let dir = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'api');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true, maxRetries: 20 });
});

/** Another command gives the folder another identity, with a host in its list. */
const replace = () => createIdentity(dir, {}, { friendlyName: 'new', hosts: ['new.example'], force: true });

async function expectNew(): Promise<void> {
  const { trust } = await openDevice(dir, {});
  expect((await trust.read()).hosts).toEqual(['new.example']);
}

describe('an identity that replaces another one while a command waits for the lock', () => {
  it('keeps its list if a program seals the first list of the other one', async () => {
    const signer = toSigner(newPrivateKey());
    await createIdentity(dir, {}, { friendlyName: 'old', publicKey: signer.publicKey });
    beforeLock(replace);
    await openDevice(dir, {}, null, signer).catch(() => {});
    await expectNew();
  });

  it('keeps its list if a program resets that of the other one', async () => {
    const signer = toSigner(newPrivateKey());
    await createIdentity(dir, {}, { friendlyName: 'old', publicKey: signer.publicKey });
    beforeLock(replace);
    await expect(resetTrust(dir, {}, { signer })).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
      detail: 'identity.json names another key than the one that this machine opened.',
    });
    await expectNew();
  });
});
