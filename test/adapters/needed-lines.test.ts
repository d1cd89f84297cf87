import type { RequestView } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { ALWAYS_NEEDED, neededLines } from '../../src/adapters/node/needed-lines';
import { signed, signerOf, verifierAt } from '../support/core';
import { vectors } from '../support/vectors';

const needed = (...rawHeaders: string[]) => ({ ...neededLines({ rawHeaders, headers: {} } as never) });
const NAMES = (count: number) => Array.from({ length: count }, (_, i) => `"x${i}"`).join(' ');

describe('the header lines that a view has', () => {
  it('are those with fixed names, and those that a signature covers, in any case and with all lines', () => {
    const lines = needed(
      ...['Host', 'a', 'X-Order', '1', 'Cookie', 'c', 'x-order', '2', 'Content-Type', 't'],
      ...['Signature-Input', 'a=("@method" "x-order");created=1', 'X-ORDER', '3', 'x-ordes', '4'],
    );
    expect(lines).toEqual({
      host: ['a'],
      'content-type': ['t'],
      'signature-input': ['a=("@method" "x-order");created=1'],
      'x-order': ['1', '2', '3'],
    });
  });

  it('have each line only once if a signature covers a field with a fixed name', () => {
    const lines = needed('Host', 'a', 'signature-input', 'a=("host" "signature-input")');
    expect(lines).toEqual({ host: ['a'], 'signature-input': ['a=("host" "signature-input")'] });
  });

  it.each([
    ['in several lines', ['a=("@path")', 'b=("x-a")']],
    ['behind a string with quotes and backslashes', ['b=("@path");x="\\"a\\\\", \\"b"', 'a=("x-a")']],
    ['behind a string that is cut in half by a second line', ['b=("@path");x="c', ' d",a=("x-a")']],
    ['as the last of the most that the fields may have', [`a=(${NAMES(400)} "x-a")`]],
  ])('are found by names that stand %s', (_, inputs) => {
    const lines = needed(...inputs.flatMap((input) => ['signature-input', input]), 'X-A', '1', 'X-B', '2');
    expect(lines).toMatchObject({ 'x-a': ['1'] });
    expect(lines).not.toHaveProperty('x-b');
  });

  it('do not grow with a field that is refused for its size', () => {
    expect(needed('signature-input', `a=(${NAMES(401)} "x-a")`, 'x-a', '1')).not.toHaveProperty('x-a');
    const long = `a=("x-a" "${'b'.repeat(8192)}")`;
    expect(needed('signature-input', long, 'x-a', '1')).not.toHaveProperty('x-a');
  });

  it('are found in a time that grows with the field, and not with its square', () => {
    const texts = ['\\"', '"\\', 'a"', '"a', '\\', '"'].map((part) => `"${part.repeat(8190 / part.length)}`);
    for (let i = 0; i < 1000; i++) for (const text of texts) needed('signature-input', text);
  }, 10_000); // it takes half a second; with a search for each quote, a minute

  it('include those with the names of the prototype', () => {
    const named = 'a=("__proto__" "constructor" "tostring")';
    const lines = neededLines({
      rawHeaders: ['signature-input', named, '__proto__', 'p', 'toString', 's'],
      headers: {},
    } as never);
    expect(Object.entries(lines)).toEqual([
      ['signature-input', [named]],
      ['__proto__', ['p']],
      ['tostring', ['s']],
    ]);
  });
});

/** Headers that note each name that is looked up. */
function watched(headers: Readonly<Record<string, string>>, seen: Set<string>) {
  return new Proxy<Record<string, string>>(Object.assign(Object.create(null), headers), {
    getOwnPropertyDescriptor(target, name) {
      seen.add(String(name));
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
    get(target, name) {
      seen.add(String(name));
      return Reflect.get(target, name);
    },
    ownKeys() {
      throw new Error('A check has looked at all lines.');
    },
  });
}

describe('no check looks at a line without a fixed name that no signature covers:', () => {
  const PROXIED = { 'x-forwarded-host': 'api.example.com', forwarded: 'host=api.example.com' };
  const named = { 'authmesh-target': vectors.devices.target.deviceId };

  it.each<[string, string, Parameters<typeof signed>[1], Partial<RequestView>]>([
    ['a request that is accepted', 'accepted', {}, {}],
    ['one that asks for a proof', 'accepted', { asksForProof: true }, {}],
    ['one in RFC 9421', 'accepted', { format: 'rfc9421' }, {}],
    ['one without a signature', 'missing_header', {}, { headers: { 'x-a': '1' } }],
    ['one without its Authorization', 'missing_header', {}, { headers: named }],
    ['one behind a proxy that changed it', 'invalid_signature', {}, { target: '/7?x=2' }],
    ['one for another host', 'wrong_host', {}, { authority: 'other.example.com' }],
  ])('%s', async (_, expected, options, change) => {
    const sent = { target: '/orders/7?x=1', headers: PROXIED };
    const { headers } = await signed(sent, options);
    const { deviceId } = vectors.devices.target;
    const target = await signerOf('target');
    const reasons: string[] = [];
    const verifier = verifierAt({
      trustForwardedHost: expected === 'accepted',
      answerSigner: { deviceId, sign: (message) => target.sign(message) },
      onRefusal: ({ code }) => void reasons.push(code),
    });
    const seen = new Set<string>();
    const view = { method: 'GET', ...sent, authority: 'api.example.com', headers, ...change };
    const verdict = await verifier.verify({ ...view, headers: watched(view.headers as never, seen) });
    if (verdict.ok) await verdict.proof?.sign({ status: 204, headers: {}, body: null });
    expect(verdict.ok ? 'accepted' : reasons[0]).toBe(expected);
    expect([...seen].filter((name) => !ALWAYS_NEEDED.has(name))).toEqual([]);
    expect(seen.size).toBeGreaterThan(4);
  });
});
