import { InMemoryNonceStore, signRequest } from '@authmesh/sdk/core';
import { createServerVerifier } from '@authmesh/sdk/workers';
import { describe, expect, it } from 'vitest';
import { usePair } from '../support/use-pair';

/** Some frameworks make up the host of `request.url`. Only the Host header then says for which host a request was made. */

const machines = usePair();
const BODY = { method: 'POST', body: '{"amount":100}' };

/** A request as a framework shows it, at a URL of its own. */
async function shown(signedFor: string, host: string, made: (request: Request) => Request = (it) => it) {
  const signed = await signRequest(new Request(`https://${signedFor}/orders?x=1`, BODY), machines.signer);
  const headers = [...signed.headers, ['host', host]] as [string, string][];
  return made(new Request('http://localhost:3000/orders?x=1', { ...BODY, headers }));
}

/** What Next.js passes to a route handler, and to `proxy.ts`. */
class NextRequest extends Request {
  get nextUrl() {
    return { pathname: '/orders' };
  }
}
const next = (request: Request) => new NextRequest(request);

async function codeOf(options: object, request: Request): Promise<string> {
  // A store that has just started refuses a request of the second before.
  const amesh = machines.targetWith({ nonceStore: new InMemoryNonceStore({ startedAt: 0 }) });
  const verdict = await createServerVerifier({ amesh, ...options }).verify(request);
  if (verdict.ok) return 'accepted';
  return 'code' in verdict ? verdict.code : verdict.kind;
}

const KNOWN = { hosts: ['api.example.com', 'localhost:3000'] };

describe('in Next.js, the Host header counts,', () => {
  it.each([
    ['the host of the callers', 'accepted', 'api.example.com', 'api.example.com'],
    ['its own made-up host', 'accepted', 'localhost:3000', 'localhost:3000'],
    ['the same in another case and with its port', 'accepted', 'api.example.com', 'API.example.com:443'],
    ['a host that is not configured', 'wrong_host', 'other.example.com', 'other.example.com'],
    ['a request for another host', 'invalid_signature', 'localhost:3000', 'api.example.com'],
    ['the other way round', 'invalid_signature', 'api.example.com', 'localhost:3000'],
    ['no host', 'malformed_header', 'api.example.com', 'not a host'],
  ])('%s: %s', async (_, expected, signedFor, host) => {
    expect(await codeOf(KNOWN, await shown(signedFor, host, next))).toBe(expected);
  });
});

describe('elsewhere, a URL with another host', () => {
  it('is refused, and the log says what to do', async () => {
    expect(await codeOf(KNOWN, await shown('api.example.com', 'api.example.com'))).toBe('malformed_header');
    expect(machines.refusals.at(-1)).toMatchObject({
      detail: 'The Host header differs from the authority of the request.',
      fix: expect.stringContaining("authority: 'api.example.com'"),
    });
  });

  it('that the framework took from X-Forwarded-Host is one that a proxy may name', async () => {
    const request = await shown('localhost:3000', 'upstream:8080');
    request.headers.set('x-forwarded-host', 'localhost:3000');
    expect(await codeOf(KNOWN, request)).toBe('malformed_header');
    expect(machines.refusals.at(-1)?.fix).toMatch(
      /\(localhost:3000\) from the X-Forwarded-Host of your proxy/,
    );
    expect(await codeOf({ ...KNOWN, trustForwardedHost: true }, request)).toBe('accepted');
  });

  it('counts as the one that the option names', async () => {
    const options = { authority: 'api.example.com' };
    expect(await codeOf(options, await shown('api.example.com', 'api.example.com'))).toBe('accepted');
    expect(await codeOf(options, await shown('localhost:3000', 'api.example.com'))).toBe('invalid_signature');
  });

  it('counts as the one that a trusted proxy names', async () => {
    const options = { ...KNOWN, trustForwardedHost: true };
    const forwarded = (host: string) => (request: Request) => {
      request.headers.set('x-forwarded-host', host);
      return request;
    };
    const sent = (host: string) => shown('api.example.com', 'api.example.com', forwarded(host));
    expect(await codeOf(options, await sent('api.example.com'))).toBe('accepted');
    expect(await codeOf(options, await sent('localhost:3000'))).toBe('invalid_signature');
    expect(await codeOf(options, await sent(' '))).toBe('malformed_header');
  });
});
