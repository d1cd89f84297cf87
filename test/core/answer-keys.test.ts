import { verifyAnswer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { answerKeyOf } from '../../src/core/answers/answer-key';
import { signAnswer } from '../../src/core/answers/sign-answer';
import { readStatement } from '../../src/core/statements/read-statement';
import { periodFrom } from '../../src/core/statements/sign-statement';
import { NOW, signerOf } from '../support/core';
import { vectors } from '../support/vectors';

const DAY = 86_400;

/** A device key that counts its signatures and can wait, and the clock of its process. */
async function device(waitMs?: number) {
  const key = await signerOf('target');
  const state = { signatures: 0, seconds: NOW, gate: undefined as Promise<void> | undefined };
  const signer = {
    publicKey: key.publicKey,
    sign: async (message: Uint8Array) => {
      state.signatures++;
      await state.gate;
      return key.sign(message);
    },
  };
  const current = answerKeyOf(signer, { now: () => state.seconds * 1000, waitMs });
  return { state, current, settled: () => new Promise((resolve) => setImmediate(resolve)) };
}

describe('An answer key', () => {
  it('is made at the first answer, for two hours, and renewed in the background after one', async () => {
    const { state, current, settled } = await device();
    expect(state.signatures).toBe(0);
    const first = await current();
    const { deviceId } = vectors.devices.target;
    expect(first.deviceId).toBe(deviceId);
    expect(readStatement(first.statement ?? '', 'answer')).toMatchObject({
      deviceId,
      issuedAt: NOW - 300,
      expiresAt: NOW + 7200,
    });
    state.seconds = NOW + 3599;
    expect(await current()).toBe(first);
    state.seconds = NOW + 3600;
    expect(await current()).toBe(first);
    await settled();
    const second = await current();
    expect(second.statement).not.toBe(first.statement);
    expect(state.signatures).toBe(2);
  });

  it('is never accepted for requests', async () => {
    const { statement = '' } = await (await device()).current();
    expect(readStatement(statement, 'request')).toBeNull();
  });

  it('does not make an answer wait long for a key that needs a touch', async () => {
    const { state, current, settled } = await device(1);
    let touch = () => {};
    state.gate = new Promise((resolve) => {
      touch = resolve;
    });
    const first = (async () => current())();
    await expect(first).rejects.toThrow('If it requires a touch or a PIN, provide it.');
    await expect((async () => current())()).rejects.toThrow('If it requires a touch or a PIN, provide it.');
    touch();
    await settled();
    expect(readStatement((await current()).statement ?? '', 'answer')).not.toBeNull();
    expect(state.signatures).toBe(1);
  });

  it('is not accepted once it has ended, even if its answer is set back', async () => {
    const signer = await (await device()).current();
    const request = { method: 'GET', nonce: 'A'.repeat(43) };
    const answer = { status: 200, headers: {}, body: new Uint8Array() };
    const headers = await signAnswer(answer, request, signer, NOW, nodeCrypto);
    const { publicKey } = await signerOf('target');
    const expected = {
      ...request,
      asksForPart: false,
      isConditional: false,
      deviceId: signer.deviceId,
      key: await nodeCrypto.importPublicKey(publicKey),
    };
    const at = (seconds: number) =>
      verifyAnswer({ status: 200, headers }, { ...expected, nowMs: seconds * 1000 }, nodeCrypto);
    expect(await at(NOW)).toMatchObject({ created: NOW });
    expect(await at(NOW + 7200 + 300)).toMatchObject({ created: NOW });
    expect(await at(NOW + 7200 + 301)).toBe('its answer key has ended');
  });

  it('may last for 90 days, and then starts no earlier than now', () => {
    const nowMs = NOW * 1000;
    expect(periodFrom('answer', nowMs, 30 * DAY)).toEqual({ issuedAt: NOW - 300, expiresAt: NOW + 30 * DAY });
    expect(periodFrom('answer', nowMs, 90 * DAY)).toEqual({ issuedAt: NOW, expiresAt: NOW + 90 * DAY });
    expect(periodFrom('request', nowMs, DAY)).toEqual({ issuedAt: NOW, expiresAt: NOW + DAY });
  });
});
