import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AmeshOptions, createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import type { Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readStatement } from '../../src/core/statements/read-statement';
import { asking, checked } from '../support/proofs';

let root: string;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(async () => {
  vi.useRealTimers();
  logged.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const unsigned = () =>
  logged.mock.calls
    .map(([line]: unknown[]) => String(line))
    .filter((line: string) => line.includes('unsigned'));

/** A target with a caller in its list, and how that caller's requests are answered. */
async function target(options: Pick<AmeshOptions, 'signer'> = {}) {
  const { signer } = options;
  const dir = join(root, 'target');
  const publicKey = signer?.publicKey;
  const { deviceId } = await createIdentity(dir, {}, { friendlyName: 'target', publicKey });
  const caller = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
  const opened = await openDevice(dir, {}, null, signer);
  await opened.trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  const by = (await openDevice(join(root, 'caller'), {})).signer;
  const instance = () => createAmesh({ dir, env: {}, ...options }).verifier({ authority: 'api.example.com' });
  const key = await nodeCrypto.importPublicKey(opened.signer.publicKey);
  return {
    deviceId,
    instance,
    /** Asks, and says how the answer was proven and with which statement. */
    async ask(verifier = instance()) {
      const { request, expected } = await asking({}, { signer: by, created: Math.floor(Date.now() / 1000) });
      const verdict = await verifier.verify(request);
      if (!verdict.ok) throw new Error(verdict.kind);
      const answer = { status: 200, headers: { 'content-type': 'text/plain' }, body: Buffer.from('hello') };
      const added = await verdict.proof?.sign(answer);
      const { proof } = await checked(
        { ...answer, headers: { ...answer.headers, ...added } },
        { ...expected, deviceId, key },
      );
      return { proof, statement: added?.['authmesh-key'] };
    },
    async callWithoutAsking(verifier = instance()) {
      const { request } = await asking({}, { signer: by });
      const { 'accept-signature': _, ...headers } = request.headers;
      const verdict = await verifier.verify({ ...request, headers });
      return verdict.ok ? verdict.proof : undefined;
    },
  };
}

/** A device key outside this process that counts its signatures, and can fail or wait. */
async function slowKey() {
  const key = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  const slow = {
    signatures: 0,
    fault: null as Error | null,
    signer: null as unknown as Signer,
  };
  slow.signer = {
    publicKey: key.publicKey,
    sign: async (message) => {
      slow.signatures++;
      if (slow.fault !== null) throw slow.fault;
      return key.sign(message);
    },
  };
  return slow;
}

describe('A machine whose key is in its process', () => {
  it('signs answers with that key', async () => {
    const { ask } = await target();
    expect(await ask()).toEqual({ proof: 'proven', statement: undefined });
  });
});

describe('A machine whose key is slow', () => {
  it('signs all answers with one answer key, which all instances of the process share', async () => {
    const slow = await slowKey();
    const { ask, instance, deviceId } = await target({ signer: slow.signer });
    const before = slow.signatures;
    const [one, other] = [instance(), instance()];
    const answers = await Promise.all([ask(one), ask(one), ask(other), ask(other)]);
    expect(new Set(answers.map(({ proof }) => proof))).toEqual(new Set(['proven']));
    const [statement, ...others] = new Set(answers.map((answer) => answer.statement));
    expect(others).toEqual([]);
    expect(readStatement(statement ?? '', 'answer')).toMatchObject({ deviceId });
    expect(slow.signatures - before).toBe(1);
  });

  it('signs nothing for callers that do not ask', async () => {
    const slow = await slowKey();
    const { callWithoutAsking } = await target({ signer: slow.signer });
    const before = slow.signatures;
    expect(await callWithoutAsking()).toBeUndefined();
    expect(slow.signatures - before).toBe(0);
  });

  it('answers without a proof while the key fails, and says why at most once in five minutes', async () => {
    const start = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: start });
    const slow = await slowKey();
    const { ask, instance } = await target({ signer: slow.signer });
    const verifier = instance();
    slow.fault = new Error('the KMS is gone');
    const before = slow.signatures;
    for (let i = 0; i < 3; i++) expect((await ask(verifier)).proof).toBe('it has no signature of amesh');
    expect(slow.signatures - before).toBe(1); // each attempt may ask a person for a touch
    expect(unsigned()).toEqual([
      expect.stringMatching(
        /^amesh: An answer went out unsigned, .*: The signer .* \(the KMS is gone\) Such callers may refuse /,
      ),
    ]);
    vi.setSystemTime(start + 301_000);
    await ask(verifier);
    expect(unsigned()).toHaveLength(2);
    slow.fault = null;
    vi.setSystemTime(start + 340_000);
    expect((await ask(verifier)).proof).toBe('proven');
  });
});
