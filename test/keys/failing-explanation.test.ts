import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { toSigner } from '../../src/core/crypto/node';
import { QueueSigner } from '../../src/keys/slow/queue-signer';
import { TpmSigner } from '../../src/keys/tpm2/key';
import { Tpm } from '../../src/keys/tpm2/tpm';

const MESSAGE = new TextEncoder().encode('what is signed');
const { publicKey } = toSigner(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);

const explanations: readonly [string, () => Promise<Error>][] = [
  ['rejects', async () => Promise.reject(new Error('nobody explains this'))],
  [
    'throws',
    () => {
      throw new Error('nobody explains this');
    },
  ],
];

describe.each(explanations)('a key whose explanation of a failure %s', (_, explain) => {
  it('fails all that wait for an agent with the failure itself, and also the next one', async () => {
    const queue = await QueueSigner.of({
      publicKey,
      signAll: async () => {
        throw new Error('the agent refused');
      },
      explain,
    });
    const first = await Promise.allSettled([queue.sign(MESSAGE), queue.sign(MESSAGE)]);
    const next = await Promise.allSettled([queue.sign(MESSAGE)]);
    for (const each of [...first, ...next])
      expect(each).toMatchObject({ status: 'rejected', reason: { message: 'the agent refused' } });
  });

  it('fails all that wait for a TPM with the failure itself, and also the next one', async () => {
    const nowhere = Tpm.at({ kind: 'device', path: '/nowhere/tpmrm0' });
    const key = {
      parent: 0x4000_0001,
      isWithoutPin: true,
      publicArea: new Uint8Array(),
      privateArea: new Uint8Array(),
    };
    const signer = new TpmSigner(nowhere, key, publicKey, new Uint8Array(), explain);
    const first = await Promise.allSettled([signer.sign(MESSAGE), signer.sign(MESSAGE)]);
    const next = await Promise.allSettled([signer.sign(MESSAGE)]);
    for (const each of [...first, ...next])
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'ENOENT' } });
  });
});
