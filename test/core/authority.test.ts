import { normalizeAuthority } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseHosts } from '../../src/core/wire/authority';
import { times } from '../support/full';

describe('an authority', () => {
  it.each([
    ['API.Example.com', 'api.example.com'],
    ['api.example.com.', 'api.example.com.'],
    ['a_service-1:3000', 'a_service-1:3000'],
    ['a.example:443', 'a.example'],
    ['127.0.0.1:8080', '127.0.0.1:8080'],
    ['[::1]:8080', '[::1]:8080'],
    [`${'x'.repeat(63)}.example`, `${'x'.repeat(63)}.example`],
    ['[2001:DB8::1]', '[2001:db8::1]'],
    ['web-1', 'web-1'],
    ['v1.api2.example', 'v1.api2.example'],
    ['10-0-0-1.pods:80', '10-0-0-1.pods'],
    ['1.0xg', '1.0xg'],
    ['XN--bcher-kva.example', 'xn--bcher-kva.example'],
    ['xn--a.example', 'xn--a.example'], // to some runtimes a name, to others none
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
    '[fe80::1%eth0]:3000',
    '[fe80::1%25eth0]',
    'é.example',
    '1.2.3',
    '1',
    '1.2.3.4.5',
    '256.0.0.1',
    '127.1:3000',
    '0127.0.0.1',
    '127.0.0.1.',
    '0x7f000001',
    '1.0xf',
    'a.1',
    '[....]',
    '[:]',
    '[1::2::3]',
    '[0:0:0:0:0:0:0:1]',
    '[::ffff:1.2.3.4]',
  ])('is not: %j', (text) => {
    expect(normalizeAuthority(text)).toBeNull();
    expect(() => parseHosts([text])).toThrow(/ is not a host\. /);
  });

  it('is what a URL makes of it, whatever that is', () => {
    const part = fc
      .stringMatching(/^(?:[0-9]{1,3}|0x[0-9a-f]{0,2}|[a-z0-9_-]{1,4})$/)
      .filter((text) => text !== 'xn--');
    const name = fc.array(part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('.'));
    const address = fc.stringMatching(/^\[[0-9a-f:.]{2,12}\]$/);
    fc.assert(
      fc.property(
        fc.oneof(
          name,
          address,
          fc.ipV4(),
          fc.ipV6().map((ip) => `[${ip}]`),
        ),
        (text) => {
          const url = `http://${text}`;
          const inUrl = URL.canParse(url) && new URL(url).host === text;
          expect(normalizeAuthority(text)).toBe(inUrl ? text : null);
        },
      ),
      { numRuns: times(600, 3000) },
    );
  });

  it('is checked in a time that grows only with its length', () => {
    const longest = `${'a.'.repeat(500_000)}!`;
    const started = performance.now();
    expect(normalizeAuthority(longest)).toBeNull();
    expect(performance.now() - started).toBeLessThan(5000); // quadratic, it would be minutes
  });
});
