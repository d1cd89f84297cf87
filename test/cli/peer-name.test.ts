import { describe, expect, it } from 'vitest';
import { likelyUrl } from '../../src/cli/src/words/likely-url';
import { misleadingNote, peerName } from '../../src/cli/src/words/peer-name';

describe('what a machine calls itself', () => {
  it.each([
    'orders-api',
    'orders api (eu)',
    'Müllers Rechner',
    '東京-1',
    'host.example.com:3000',
    'api-2024',
  ])('stays unchanged: %s', (name) =>
    expect(peerName(name)).toEqual({ shown: `"${name}"`, isMisleading: false }),
  );

  it.each([
    ['a verdict', '✓ VERIFIED 843 462', '? VERIFIED ### ###'],
    ['a verdict without its mark', 'Verified', 'Verified'],
    ['a code', 'api 482916', 'api ######'],
    ['a code in groups', 'api 482-916', 'api ###-###'],
    ['a code in other digits', '٤٨٢ ٩١٦ x', '### ### x'],
    ['an id', 'device am_cOixWcOdI8-pLh4P', 'device am_cOixWcOdI#-pLh#P'],
    ['a question', '? Does it match [y/N] y', '? Does it match ?y/N? y'],
    ['a quote that ends early', 'api" is trusted', 'api? is trusted'],
  ])('is marked if it looks like %s', (_, name, shown) => {
    expect(peerName(name)).toEqual({ shown: `"${shown}"`, isMisleading: true });
    expect(misleadingNote(peerName(name))).toHaveLength(1);
  });

  it('is cut', () => {
    expect(peerName('n'.repeat(64)).shown).toBe(`"${'n'.repeat(32)}…"`);
  });
});

describe('the URL that is printed to be tried', () => {
  it.each([
    ['localhost:3000', 'http://localhost:3000/'],
    ['[::1]:3000', 'http://[::1]:3000/'],
    ['192.168.1.20:3000', 'http://192.168.1.20:3000/'],
    ['10.0.0.7', 'http://10.0.0.7/'],
    ['[fd00::2]:3000', 'http://[fd00::2]:3000/'],
    ['orders:8080', 'http://orders:8080/'],
    ['orders.internal:8080', 'http://orders.internal:8080/'],
    ['orders.internal:8443', 'https://orders.internal:8443/'],
    ['api.example.com', 'https://api.example.com/'],
    ['api.example.com:3000', 'https://api.example.com:3000/'],
    ['8.8.8.8:3000', 'https://8.8.8.8:3000/'],
  ])('of %s is %s', (host, url) => expect(likelyUrl(host)).toBe(url));
});
