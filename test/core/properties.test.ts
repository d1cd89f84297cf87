import type { RequestView } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signed, verifierAt } from '../support/core';
import { isFull, times } from '../support/full';

const token = fc.string({ unit: fc.constantFrom(...'ABCxyz019!#$%&*+.^_|~-'), minLength: 1, maxLength: 12 });
const method = fc
  .oneof(fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'), token)
  .filter((name) => name !== 'TRACE' && name !== 'CONNECT');
const visible = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 24,
});
const target = visible.map((text) => `/${text.replaceAll('#', '')}`);
const fieldText = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  maxLength: 24,
});
const body = fc.oneof(fc.constant(new Uint8Array()), fc.uint8Array({ maxLength: 64 }));

const request = fc.record({
  method,
  target,
  authority: fc.constantFrom(
    'api.example.com',
    'API.example.com',
    'api.example.com:443',
    'api.example.com:80',
  ),
  headers: fc.record(
    {
      'content-type': fieldText,
      'content-encoding': fieldText,
      authorization: fieldText.map((text) => `Bearer ${text}`),
      'x-other': fieldText,
    },
    { requiredKeys: [] },
  ),
  body,
});
const format = fc.constantFrom('authmesh' as const, 'rfc9421' as const);

describe('properties', () => {
  it('everything that is signed verifies', async () => {
    const verifier = verifierAt();
    await fc.assert(
      fc.asyncProperty(request, format, async (view, form) => {
        const verdict = await verifier.verify(await signed(view, { format: form }));
        expect(verdict).toMatchObject({ ok: true, caller: { friendlyName: 'controller' } });
        if (verdict.ok) expect(verdict.request.body).toEqual(view.body);
      }),
      { numRuns: times(200, 500) },
    );
  });

  it('does not verify with any changed byte of method, target, host, covered header or body', async () => {
    const verifier = verifierAt();
    const runs = times(1000, 3000);
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        request,
        format,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (view, form, at, mask) => {
          const good = await signed(view, { format: form });
          const places = bytesOf(good);
          const place = places[at % places.length] as Place;
          const changed = place.change(mask);
          if (changed === null || meansTheSame(good, changed)) return;
          refused++;
          expect(await verifier.verify(changed)).toMatchObject({ ok: false });
        },
      ),
      { numRuns: runs },
    );
    expect(refused).toBeGreaterThan(runs / 2);
  });

  it('notice every single byte of one request', async () => {
    const good = await signed({
      method: 'POST',
      target: '/orders?a=1',
      headers: { 'content-type': 'text/plain', 'content-encoding': 'identity' },
      body: new TextEncoder().encode('hello'),
    });
    for (const [at, place] of bytesOf(good).entries()) {
      for (const mask of isFull ? [1, 2, 4, 8, 16, 32, 64, 128] : [1 << (at % 8)]) {
        const changed = place.change(mask);
        if (changed === null || meansTheSame(good, changed)) continue;
        // A verifier of its own for each: a changed body is found out after the nonce was claimed.
        expect(await verifierAt().verify(changed), place.name).toMatchObject({ ok: false });
      }
    }
    expect(await verifierAt().verify(good)).toMatchObject({ ok: true });
  });
});

interface Place {
  readonly name: string;
  readonly change: (mask: number) => RequestView | null;
}

type Signed = Awaited<ReturnType<typeof signed>>;

const COVERED = ['content-type', 'content-encoding', 'content-digest', 'authmesh-target'];
const SIGNATURE = ['authorization', 'signature', 'signature-input'];

/** Every byte of a request that a signature protects, each with a way to change it. */
function bytesOf(good: Signed): Place[] {
  const places: Place[] = [];
  const text = (name: string, value: string, put: (value: string) => RequestView) => {
    for (let i = 0; i < value.length; i++) {
      places.push({
        name: `${name}[${i}]`,
        change: (mask) =>
          put(value.slice(0, i) + String.fromCharCode(value.charCodeAt(i) ^ mask) + value.slice(i + 1)),
      });
    }
  };
  text('method', good.method, (method) => ({ ...good, method }));
  text('target', good.target, (changed) => ({ ...good, target: changed }));
  text('authority', good.authority, (authority) => ({ ...good, authority }));
  for (const name of [...COVERED, ...SIGNATURE]) {
    const value = good.headers[name];
    if (typeof value === 'string')
      text(name, value, (changed) => ({ ...good, headers: { ...good.headers, [name]: changed } }));
  }
  const bytes = good.body as Uint8Array;
  for (let i = 0; i < bytes.length; i++) {
    places.push({
      name: `body[${i}]`,
      change: (mask) => {
        const changed = bytes.slice();
        changed[i] = (changed[i] as number) ^ mask;
        return { ...good, body: changed };
      },
    });
  }
  return places;
}

/** What RFC 9421 makes equal: the case of the host, a default port, a bare final "?", outer white space. */
function meansTheSame(a: RequestView, b: RequestView): boolean {
  return JSON.stringify(meaning(a)) === JSON.stringify(meaning(b));
}

function meaning({ method, target, authority, headers, body }: RequestView) {
  const fields = [...COVERED, 'signature'].map((name) => [
    name,
    String(headers[name] ?? '').replace(/^[ \t]+|[ \t]+$/g, ''),
  ]);
  const authorization = String(headers.authorization ?? '');
  return [
    method,
    target.replace(/\?$/, ''),
    authority.toLowerCase().replace(/:(80|443)$/, ''),
    ...fields,
    // The scheme's name is case-insensitive, and spaces between members of a structured field are free.
    authorization
      .replace(/^authmesh/i, 'AuthMesh')
      .replace(/ +/g, ' ')
      .trim(),
    String(headers['signature-input'] ?? '')
      .replace(/[ \t]+/g, ' ')
      .trim(),
    [...(body as Uint8Array)],
  ];
}
