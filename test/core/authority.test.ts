import { normalizeAuthority } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { parseHosts } from '../../src/core/authority';

describe('an authority', () => {
  it.each([
    ['API.Example.com', 'api.example.com'],
    ['api.example.com.', 'api.example.com.'],
    ['a_service-1:3000', 'a_service-1:3000'],
    ['a.example:443', 'a.example'],
    ['127.0.0.1:8080', '127.0.0.1:8080'],
    ['[::1]:8080', '[::1]:8080'],
    [`${'x'.repeat(63)}.example`, `${'x'.repeat(63)}.example`],
  ])('%s', (text, normal) => {
    expect(normalizeAuthority(text)).toBe(normal);
    expect(parseHosts([text])).toEqual([normal]);
  });

  it.each([
    '',
    '.',
    '..',
    'a..b',
    '.a.example',
    'a.example..',
    'a..b:80',
    `${'x'.repeat(64)}.example`,
    'a b',
    'a.example:0',
    'a.example:65536',
    'a.example:',
    'me@a.example',
    'a.example/x',
    '[::1',
    'é.example',
  ])('is not: %j', (text) => {
    expect(normalizeAuthority(text)).toBeNull();
    expect(() => parseHosts([text])).toThrow(/ is not a host\. /);
  });

  it('is told in a time that grows with its length only', () => {
    const longest = `${'a.'.repeat(500_000)}!`;
    const started = performance.now();
    expect(normalizeAuthority(longest)).toBeNull();
    expect(performance.now() - started).toBeLessThan(5000); // quadratic, it would be minutes
  });
});
