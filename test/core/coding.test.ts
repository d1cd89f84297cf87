import { expect, it } from 'vitest';
import { isStream } from '../../src/core/answers/hold-back';
import { isCoded } from '../../src/core/wire/coding';

it.each([
  [undefined, false],
  [null, false],
  ['', false],
  ['identity', false],
  ['Identity', false],
  [',', false],
  [' identity ,, Identity,', false],
  ['gzip', true],
  [', gzip', true],
  ['identityidentity', true],
  ['identity identity', true],
  ['identity, gzip', true],
  ['identity-2', true],
])('a Content-Encoding of %j changes the bytes: %s', (coding, expected) => {
  expect(isCoded(coding)).toBe(expected);
  // An answer with such a body is complete, so its body is signed, too.
  expect(isStream(new Headers(typeof coding === 'string' ? { 'content-encoding': coding } : {}))).toBe(
    expected,
  );
});
