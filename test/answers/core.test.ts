import {
  type AnswerView,
  type ExpectedAnswer,
  InMemoryNonceStore,
  toBase64Url,
  verifyAnswer,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { signParts } from '../../src/core/sign/sign-request';
import { NOW, signerOf } from '../support/core';
import { asking, provingVerifier } from '../support/proofs';

const check = (answer: AnswerView, expected: ExpectedAnswer) => verifyAnswer(answer, expected, nodeCrypto);

describe('an answer to a request that asks for a proof', () => {
  it('is proven, with its body', async () => {
    const { request, expected } = await asking();
    const verdict = await (await provingVerifier()).verify(request);
    if (!verdict.ok) throw new Error(verdict.code);
    const answer = { status: 200, headers: { 'content-type': 'text/plain' } };
    const body = new TextEncoder().encode('hello');
    const added = await verdict.proof?.sign({ ...answer, body });
    const head = await check({ ...answer, headers: { ...answer.headers, ...added } }, expected);
    expect(head).toMatchObject({ created: NOW, isStream: false, headers: { 'content-type': 'text/plain' } });
    expect(typeof head === 'string' ? null : toBase64Url(head.digest as Uint8Array)).toBe(
      toBase64Url(await nodeCrypto.sha256(body)),
    );
  });

  it.each([
    [
      'throws',
      () => Promise.resolve(),
      (error: Error) => {
        throw error;
      },
    ],
    ['rejects', () => new Promise(setImmediate), (error: Error) => Promise.reject(error)],
  ])('is not signed if the hash that binds it %s, but the request counts', async (_, wait, fail) => {
    const failures: unknown[] = [];
    const error = new Error('no hash');
    const { request } = await asking();
    const verifier = await provingVerifier({
      // That text is longer than a key, or an empty body.
      crypto: {
        ...nodeCrypto,
        sha256: (data) => (data.length > 100 ? fail(error) : nodeCrypto.sha256(data)),
      },
      onSigningFailure: (failure) => void failures.push(failure),
    });
    const verdict = await verifier.verify(request);
    if (!verdict.ok) throw new Error(verdict.code);
    await wait(); // nobody has looked at the failure yet
    expect(await verdict.proof?.sign({ status: 204, headers: {}, body: null })).toBe(null);
    expect(failures).toEqual([error]);
  });

  it('is not signed for a caller that does not ask', async () => {
    const request = { method: 'GET', target: '/', authority: 'api.example.com', headers: {} };
    const { added } = await signParts(request, null, await signerOf('controller'), { created: NOW });
    const verdict = await (await provingVerifier()).verify({ ...request, headers: added });
    expect(verdict).toMatchObject({ ok: true, proof: undefined });
  });

  it('cannot be asked for by anybody else: the signature covers the field', async () => {
    const request = { method: 'GET', target: '/', authority: 'api.example.com', headers: {} };
    const { added } = await signParts(request, null, await signerOf('controller'), { created: NOW });
    const headers = { ...added, 'accept-signature': 'amesh=("@status");tag="amesh-answer"' };
    const verifier = await provingVerifier();
    expect(await verifier.verify({ ...request, headers })).toMatchObject({ code: 'invalid_signature' });
    const { request: asked } = await asking();
    const { 'accept-signature': _, ...stripped } = asked.headers;
    expect(await verifier.verify({ ...asked, headers: stripped })).toMatchObject({
      code: 'invalid_signature',
    });
  });

  it('may be a refusal, once the nonce is claimed', async () => {
    const { request, expected } = await asking();
    const verdict = await (await provingVerifier({ require: 'orders:read' })).verify(request);
    if (verdict.ok) throw new Error('accepted');
    expect(verdict).toMatchObject({ code: 'scope_missing' });
    expect(verdict.response.headers.get('signature')).toBe(verdict.answer.headers.signature);
    expect(await check(verdict.answer, expected)).toMatchObject({ created: NOW });
  });

  it.each([31, -31, 299, -299])(
    'may be a refusal of a clock that is %i s off, which voids the request',
    async (offset) => {
      let nowMs = NOW * 1000;
      const now = () => nowMs;
      const nonceStore = new InMemoryNonceStore({ now, startedAt: NOW - 3600 });
      const verifier = await provingVerifier({ now, nonceStore });
      const { request, expected } = await asking({}, { created: NOW + offset });
      const verdict = await verifier.verify(request);
      if (verdict.ok) throw new Error('accepted');
      expect(verdict).toMatchObject({ code: 'timestamp_out_of_range' });
      expect(await check(verdict.answer, expected)).toMatchObject({ created: NOW });
      nowMs += offset * 1000; // at which it would have been good
      expect(await verifier.verify({ ...request })).toMatchObject({ code: 'replay_detected' });
    },
  );

  it.each([
    ['of a clock that is far off', { created: NOW - 301 }, 'timestamp_out_of_range'],
    ['of a stranger with a wrong clock', { created: NOW - 60, by: 'stranger' }, 'timestamp_out_of_range'],
    ['of a stranger', { by: 'stranger' }, 'unknown_device'],
  ] as const)('is not signed if it is a refusal %s', async (_, facts, code) => {
    const { created, by } = { created: NOW, by: 'controller' as const, ...facts };
    const { request } = await asking({}, { created, signer: await signerOf(by) });
    const verdict = await (await provingVerifier()).verify(request);
    if (verdict.ok) throw new Error('accepted');
    expect(verdict.code).toBe(code);
    expect(verdict.answer.headers).not.toHaveProperty('signature');
  });

  it('is not signed if the nonce store has forgotten that time: the request may have been accepted before', async () => {
    const now = () => NOW * 1000;
    const nonceStore = new InMemoryNonceStore({ now, startedAt: NOW - 10 });
    const verifier = await provingVerifier({ now, nonceStore });
    for (const created of [NOW - 11, NOW - 40]) {
      const { request } = await asking({}, { created });
      const verdict = await verifier.verify(request);
      if (verdict.ok) throw new Error('accepted');
      expect(verdict.code).toBe('timestamp_out_of_range');
      expect(verdict.answer.headers).not.toHaveProperty('signature');
    }
  });

  it('does not void a request that was accepted in the last ten seconds', async () => {
    let nowMs = (NOW + 30) * 1000;
    const now = () => nowMs;
    const verifier = await provingVerifier({
      now,
      nonceWindowSeconds: 60,
      nonceStore: new InMemoryNonceStore({ now, startedAt: NOW - 60 }),
    });
    const { request } = await asking({}, { created: NOW });
    expect(await verifier.verify(request)).toMatchObject({ ok: true });
    nowMs += 9_000;
    const verdict = await verifier.verify({ ...request });
    if (verdict.ok) throw new Error('accepted');
    expect(verdict.code).toBe('timestamp_out_of_range');
    expect(verdict.answer.headers).not.toHaveProperty('signature');
  });

  it('is not signed for a replay', async () => {
    const verifier = await provingVerifier();
    const { request } = await asking();
    await verifier.verify(request);
    const verdict = await verifier.verify({ ...request });
    if (verdict.ok) throw new Error('accepted');
    expect(verdict.code).toBe('replay_detected');
    expect(verdict.answer.headers).not.toHaveProperty('signature');
  });
});
