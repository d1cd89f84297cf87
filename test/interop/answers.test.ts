import { createHash, createPublicKey } from 'node:crypto';
import { createVerifier as createTheirVerifier, httpbis } from 'http-message-signatures';
import { describe, expect, it } from 'vitest';
import { toSpki } from '../../src/core/crypto/points';
import { vectors } from '../support/vectors';
import answers from '../vectors/answers.json' with { type: 'json' };

// An RFC 9421 library that knows nothing of amesh verifies its answers as responses like any other.

type Headers = Record<string, string | string[]>;

const { kty, crv, x, y } = vectors.devices.target.privateKeyJwk;
const targetKey = createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' });

/** @param nextKeys the keys to which the target has moved: compressed points in base64url */
async function verifies(
  answer: { status: number; headers: Headers },
  nextKeys: readonly string[] = [],
): Promise<boolean> {
  const keys = new Map([[answers.target, targetKey]]);
  for (const point of nextKeys.map((text) => Buffer.from(text, 'base64url'))) {
    const id = `am_${createHash('sha256').update(point).digest('base64url').slice(0, 16)}`;
    keys.set(id, createPublicKey({ key: Buffer.from(toSpki(point)), format: 'der', type: 'spki' }));
  }
  const config = {
    keyLookup: async ({ keyid = '' }: { keyid?: string }) => {
      const key = keys.get(keyid);
      return key === undefined ? null : { id: keyid, verify: createTheirVerifier(key, 'ecdsa-p256-sha256') };
    },
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
  ({ name, proven }) => proven && !/another party|answer key|made weak|proxy added/.test(name),
);

describe('the package http-message-signatures', () => {
  it.each(plain)('verifies $name', async ({ answer, ...rest }) => {
    const { 'authmesh-succession': text = '' } = answer.headers as { 'authmesh-succession'?: string };
    const [payload = ''] = text.split('.');
    const named = /"new":"([\w-]{44})"/.exec(Buffer.from(payload, 'base64url').toString())?.[1];
    const { present } = rest as { present?: string };
    const nextKeys = [named, present].filter((key) => key !== undefined);
    expect(await verifies(answer as never, nextKeys)).toBe(true);
  });

  it.each(['another status: 201', 'content-type changed', 'set-cookie changed', 'a later time'])(
    'does not verify %s',
    async (name) => {
      const found = answers.cases.find((each) => each.name === name);
      expect(await verifies(found?.answer as never)).toBe(false);
    },
  );
});
