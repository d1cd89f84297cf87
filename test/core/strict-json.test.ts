import { describe, expect, it } from 'vitest';
import { fromUtf8, toUtf8 } from '../../src/core/encoding';
import { hasExactly, parseExactObject, parseObject } from '../../src/core/strict-json';

describe('strict UTF-8', () => {
  it('keeps a byte order mark', () => {
    expect(fromUtf8(new Uint8Array([0xef, 0xbb, 0xbf, 0x61]))).toBe('\ufeffa');
  });

  it.each([
    ['half a character', [0xe2, 0x82]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['half a surrogate pair', [0xed, 0xa0, 0x80]],
  ])('throws for %s, and reads the next bytes as usual', (_, bytes) => {
    expect(() => fromUtf8(new Uint8Array(bytes))).toThrow(TypeError);
    expect(fromUtf8(toUtf8('é'))).toBe('é');
  });
});

describe('a strict JSON object', () => {
  it.each(['{"a":1}', '{ "a": 1 }', '{}'])('is read from %s', (text) => {
    expect(parseObject(text)).toEqual(JSON.parse(text));
    expect(parseObject(toUtf8(text))).toEqual(JSON.parse(text));
  });

  it.each(['[]', 'null', '1', '"a"', '', '{', '\ufeff{}', '{"a":1}x'])('is not read from %j', (text) => {
    expect(parseObject(text)).toBeNull();
    expect(parseObject(toUtf8(text))).toBeNull();
  });

  it('is not read from bytes that are not UTF-8', () => {
    expect(parseObject(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toBeNull();
  });

  it.each(['{ }', '{"a":1,"a":1}', '{"a":1.0}', '{"\\u0061":1}', '{"a":1}\n'])(
    'is not exact as %j',
    (text) => {
      expect(parseObject(text)).not.toBeNull();
      expect(parseExactObject(text)).toBeNull();
      expect(parseExactObject(toUtf8(text))).toBeNull();
    },
  );

  it('has exactly the members that are named, in any order', () => {
    expect(hasExactly({ a: 1, b: undefined }, ['b', 'a'])).toBe(true);
    expect(hasExactly({}, [])).toBe(true);
  });

  it.each([
    ['one too few', { a: 1 }],
    ['one too many', { a: 1, b: 2, c: 3 }],
    ['another one', { a: 1, c: 3 }],
    ['one member whose name is two names with a space', { 'a b': 1 }],
    ['members of its prototype', Object.create({ a: 1, b: 2 })],
    ['nothing, being null', null],
    ['nothing, being a text', 'ab'],
  ])('does not have exactly the members with %s', (_, value) => {
    expect(hasExactly(value, ['a', 'b'])).toBe(false);
  });
});
