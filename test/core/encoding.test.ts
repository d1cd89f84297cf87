import { fromBase64Url, toBase64Url } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalBytes, fromBase64, toBase64, toSlab } from '../../src/core/encoding';
import { times } from '../support/full';

describe('base64url and base64', () => {
  it('agree with Node', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString('base64url'));
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64Url(toBase64Url(bytes))).toEqual(new Uint8Array(bytes));
        expect(fromBase64(toBase64(bytes))).toEqual(new Uint8Array(bytes));
      }),
    );
  });

  it('give one text for one value: whatever decodes encodes to the same text', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ABwx09-_+/=~ é'), maxLength: 12 }), (text) => {
        const url = fromBase64Url(text);
        if (url !== null) expect(toBase64Url(url)).toBe(text);
        const standard = fromBase64(text);
        if (standard !== null) expect(toBase64(standard)).toBe(text);
      }),
      { numRuns: times(400, 2000) },
    );
  });

  it.each(['A', 'AB', 'AA==', 'AA=', 'A A', 'AA\n', 'éé'])(
    'refuse %j as base64url or read it as it is',
    (text) => {
      const bytes = fromBase64Url(text);
      expect(bytes === null || toBase64Url(bytes) === text).toBe(true);
      expect(text === 'AB' || text.includes('=') ? bytes : null).toBeNull();
    },
  );
});

describe('equalBytes', () => {
  it('compares lengths and every byte', () => {
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(0, 2))).toBe(false);
    expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 0))).toBe(false);
    expect(equalBytes(new Uint8Array(), new Uint8Array())).toBe(true);
  });
});

describe('toSlab', () => {
  it('gives each text bytes of its own, even after a thousand others', () => {
    const texts = Array.from(
      { length: 1000 },
      (_, i) => `${i} ${'é'.repeat(i % 7)} ${'x'.repeat((i * 37) % 500)}`,
    );
    const bytes = texts.map((text) => toSlab(text));
    for (const [i, text] of texts.entries())
      expect(Buffer.from(bytes[i] as Uint8Array).toString()).toBe(text);
    expect(Buffer.from(toSlab('y'.repeat(100_000))).toString()).toBe('y'.repeat(100_000));
  });
});
