import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonical } from '../../src/trust/list/canonical';

describe('the canonical form of JSON', () => {
  it('is what the reference implementation of RFC 8785 writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        expect(canonical(value)).toBe(canonicalize(value));
      }),
      { numRuns: 1000 },
    );
  });

  it('orders names by their UTF-16 code units, as the example of the RFC', () => {
    const value = JSON.parse(
      '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
    );
    expect(canonical(value)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    );
  });

  it('leaves members out that are undefined, and takes __proto__ for a name as any other', () => {
    expect(canonical({ b: undefined, a: 1 })).toBe('{"a":1}');
    expect(canonical(JSON.parse('{"b":1,"__proto__":{"a":2}}'))).toBe('{"__proto__":{"a":2},"b":1}');
  });

  it.each(['"\\ud83d"', '["\\ude00"]', '{"\\ud83d":1}', '1e999', '[-1e999]'])('has none for %s', (text) => {
    expect(() => canonical(JSON.parse(text))).toThrow(TypeError);
  });

  it('has none for a tree that is too deep', () => {
    const depth = 100_000;
    expect(() => canonical(JSON.parse('['.repeat(depth) + ']'.repeat(depth)))).toThrow();
  });
});
