import { readFileSync } from 'node:fs';
import type { PrivateJwk } from '@authmesh/sdk/core';
import { nobleCrypto } from '@authmesh/sdk/crypto/noble';
import { describe, expect, it } from 'vitest';
import type { Introduction } from '../../src/pairing/ceremony/introduction';
import { newEphemeral } from '../../src/pairing/ceremony/suite';
import { holdCeremony, type Side } from '../support/ceremony';

interface PartyVector {
  readonly deviceKey: PrivateJwk;
  readonly ephemeralKey: PrivateJwk;
  /** base64url, 32 bytes */
  readonly nonce: string;
  readonly introduction: Introduction;
}

const vector: {
  readonly code: string;
  readonly verificationCode: string;
  readonly controller: PartyVector;
  readonly target: PartyVector;
  /** M1 to M8 as they go over the wire; the signatures in M4 and M5 are those of RFC 6979. */
  readonly messages: readonly string[];
} = JSON.parse(readFileSync(new URL('../vectors/pairing.json', import.meta.url), 'utf8'));

async function party({ deviceKey, ephemeralKey, nonce, introduction }: PartyVector) {
  return {
    code: vector.code,
    signer: await nobleCrypto.importPrivateKey(deviceKey), // its signatures are the same every time
    own: introduction,
    ephemeral: await newEphemeral(ephemeralKey),
    nonce: Buffer.from(nonce, 'base64url'),
  };
}

describe('test/vectors/pairing.json', () => {
  it('has the exact messages of the two machines with these keys', async () => {
    const messages: { side: Side; body: string }[] = [];
    const outcome = await holdCeremony({
      controller: await party(vector.controller),
      target: await party(vector.target),
      relay: (side, _index, body) => {
        messages.push({ side, body });
        return { on: [body] };
      },
    });
    expect(outcome.codes).toEqual({ shown: vector.verificationCode, verified: vector.verificationCode });
    expect(messages.map(({ body }) => body)).toEqual(vector.messages);
    expect(outcome.confirmed).toBe(true);
  });
});
