import { createPublicKey } from 'node:crypto';
import { createVerifier as createTheirVerifier, httpbis } from 'http-message-signatures';
import { describe, expect, it } from 'vitest';
import { vectors } from '../support/vectors';
import answers from '../vectors/answers.json' with { type: 'json' };

// An RFC 9421 library that knows nothing of amesh verifies its answers as responses like any other.

type Headers = Record<string, string | string[]>;

async function verifies(answer: { status: number; headers: Headers }): Promise<boolean> {
  const { kty, crv, x, y } = vectors.devices.target.privateKeyJwk;
  const key = createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' });
  const config = {
    keyLookup: async ({ keyid }: { keyid?: string }) =>
      keyid === answers.target ? { id: keyid, verify: createTheirVerifier(key, 'ecdsa-p256-sha256') } : null,
    notAfter: answers.now + 7200,
    maxAge: Number.POSITIVE_INFINITY,
    all: true,
  };
  try {
    return (await httpbis.verifyMessage(config as never, answer)) === true;
  } catch {
    return false;
  }
}

// Without those that need more than the RFC: another party's signature, a key that the target vouches for, a strong ETag.
const plain = answers.cases.filter(
  ({ name, proven }) => proven && !/another party|answer key|made weak/.test(name),
);

describe('the package http-message-signatures', () => {
  it.each(plain)('verifies $name', async ({ answer }) => {
    expect(await verifies(answer as never)).toBe(true);
  });

  it.each(['another status: 201', 'content-type changed', 'set-cookie changed', 'a later time'])(
    'does not verify %s',
    async (name) => {
      const found = answers.cases.find((each) => each.name === name);
      expect(await verifies(found?.answer as never)).toBe(false);
    },
  );
});
