import { type AnswerView, type ProvenHead, verifyAnswer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NOW, signerOf } from '../support/core';
import { times } from '../support/full';
import { asking, provingVerifier } from '../support/proofs';
import { vectors } from '../support/vectors';

const visible = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 20,
});
const LISTED = [
  'content-type',
  'location',
  'www-authenticate',
  'retry-after',
  'etag',
  'link',
  'content-range',
  'age',
];
const headers = fc.record(
  {
    ...Object.fromEntries(LISTED.map((name) => [name, visible])),
    'set-cookie': fc.array(visible, { minLength: 1, maxLength: 3 }),
    'authmesh-x': visible,
    'x-other': visible,
  },
  { requiredKeys: [] },
);
const answers = fc.record({
  status: fc.integer({ min: 200, max: 599 }).filter((status) => status !== 206 && status !== 304),
  headers,
  body: fc.option(fc.uint8Array({ maxLength: 32 })),
});

async function answered({
  status,
  headers,
  body,
}: {
  status: number;
  headers: object;
  body: Uint8Array | null;
}) {
  const { request, expected } = await asking();
  const verdict = await (await provingVerifier()).verify(request);
  if (!verdict.ok || verdict.proof === undefined) throw new Error('no proof');
  const added = await verdict.proof.sign({ status, headers: headers as AnswerView['headers'], body });
  return { answer: { status, headers: { ...headers, ...added } } as AnswerView, expected };
}

describe('properties of answers', () => {
  it('whatever is signed is proven', async () => {
    await fc.assert(
      fc.asyncProperty(answers, async (given) => {
        const { answer, expected } = await answered(given);
        const head = await verifyAnswer(answer, expected, nodeCrypto);
        expect(head).toMatchObject({ created: NOW });
        const { digest, isStream } = head as ProvenHead;
        const mayHaveBody = given.status !== 204;
        expect(isStream).toBe(mayHaveBody && given.body === null);
        expect(digest !== null).toBe(mayHaveBody && given.body !== null);
      }),
      { numRuns: times(50, 300) },
    );
  });

  it('no changed character of a covered field, of the signature or of the status passes', async () => {
    const place = fc.record({ at: fc.nat(), by: fc.integer({ min: 1, max: 94 }), field: fc.nat() });
    await fc.assert(
      fc.asyncProperty(answers, place, async (given, { at, by, field }) => {
        const { answer, expected } = await answered(given);
        const covered = Object.entries(answer.headers).filter(([name]) => name !== 'x-other');
        const [name, value] = covered[field % covered.length] as [string, string | string[]];
        const lines = [value].flat();
        const line = at % lines.length;
        const text = lines[line] as string;
        const index = at % text.length;
        const other = String.fromCharCode(0x20 + ((text.charCodeAt(index) - 0x20 + by) % 95));
        const changed = text.slice(0, index) + other + text.slice(index + 1);
        if (changed.trim() === text.trim()) return;
        // A weak ETag promises less than the strong one that was signed.
        if (name === 'etag' && changed === `W/${text}`) return;
        lines[line] = changed;
        const forged = { ...answer, headers: { ...answer.headers, [name]: lines } };
        expect(await verifyAnswer(forged as AnswerView, expected, nodeCrypto)).toBeTypeOf('string');
        const status = 200 + ((answer.status - 200 + by) % 400);
        expect(await verifyAnswer({ ...answer, status }, expected, nodeCrypto)).toBeTypeOf('string');
      }),
      { numRuns: times(200, 1500) },
    );
  });
});

describe('a stranger', () => {
  it.each([
    ['now', NOW],
    ['with a wrong clock', NOW - 60],
    ['far from our time', NOW - 4000],
  ])('gets the same answer for a listed and an unlisted ID: %s', async (_, created) => {
    const verifier = await provingVerifier();
    const stranger = await signerOf('stranger');
    const { deviceId } = vectors.devices.controller;
    const named = { publicKey: stranger.publicKey, sign: (message: Uint8Array) => stranger.sign(message) };
    const replies = [];
    for (const id of [deviceId, vectors.devices.stranger.deviceId, 'am_AAAAAAAAAAAAAAAA']) {
      const { request } = await asking({}, { created, signer: named });
      const authorization = String(request.headers.authorization).replace(/id="[^"]+"/, `id="${id}"`);
      const verdict = await verifier.verify({ ...request, headers: { ...request.headers, authorization } });
      if (verdict.ok) throw new Error('accepted');
      replies.push(verdict.answer);
    }
    expect(replies[1]).toEqual(replies[0]);
    expect(replies[2]).toEqual(replies[0]);
    expect(replies[0]?.headers).not.toHaveProperty('signature');
  });
});
