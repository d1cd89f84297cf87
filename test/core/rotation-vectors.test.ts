import { describe, expect, it } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { readRotationField, toRotationField } from '../../src/core/rotation/field';
import { isInTime, readRotation, signRotation } from '../../src/core/rotation/rotation';
import { providers } from '../support/providers';
import { vectors } from '../support/vectors';
import rotation from '../vectors/rotation.json' with { type: 'json' };

const bytesOf = (text: string) => fromBase64Url(text);

describe.each(providers)('vectors of rotations with the $id provider', (crypto) => {
  it.each(rotation.statements)('$name', async ({ text, rotation: expected }) => {
    const read = await readRotation(text, crypto);
    if (expected === null) return expect(read).toBeNull();
    const { formerKey, nextKey, ...rest } = expected;
    expect(read).toEqual({ ...rest, formerKey: bytesOf(formerKey), nextKey: bytesOf(nextKey), text });
  });

  it('makes the same text, except for its signatures', async () => {
    const [first] = rotation.statements;
    const { text = '', rotation: expected } = first ?? {};
    const signer = (publicKey: string) => ({
      publicKey: bytesOf(publicKey) as Uint8Array,
      sign: async () => new Uint8Array(64).fill(1),
    });
    const made = await signRotation({
      former: signer(vectors.devices.controller.publicKey),
      next: signer(expected?.nextKey ?? ''),
      targetId: rotation.target,
      nowMs: 1764000000_999,
    });
    expect(made.split('.')[0]).toBe(text.split('.')[0]);
    expect(made).toHaveLength(text.length);
  });
});

describe('the time of a rotation', () => {
  it.each(rotation.times)('$name', ({ issuedAt, nowMs, isInTime: expected }) => {
    expect(isInTime({ issuedAt }, nowMs ?? Number.NaN)).toBe(expected);
  });
});

describe('the field of a rotation', () => {
  it.each(rotation.fields)('$value', ({ value, meaning }) => {
    expect(readRotationField(value)).toEqual(meaning);
    if (meaning !== null && meaning.nextId !== undefined)
      expect(toRotationField(meaning.kind as 'withdraw', meaning.nextId)).toBe(value);
  });
});
