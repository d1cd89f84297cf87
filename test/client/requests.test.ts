import { createClient, signRequest } from '@authmesh/sdk/core';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { signerOf } from '../support/core';
import { createLoopbackDispatcher, createRecordingDispatcher, fetchWith } from '../support/dispatcher';
import { exchange } from '../support/raw-http';
import type { Recorded } from '../support/recorder';
import { useRecorder } from '../support/use-recorder';
import { verdictOn } from '../support/verdict';

const recorder = useRecorder();

const client = createClient({ signer: () => signerOf('controller') });
const last = () => recorder.requests.at(-1) as Recorded;

it('has the type of fetch', () => {
  expectTypeOf(client.fetch).toExtend<typeof fetch>();
});

describe('the first argument', () => {
  it.each([
    ['a string', (url: string) => url],
    ['a URL', (url: string) => new URL(url)],
    ['a Request', (url: string) => new Request(url)],
    ['an object that reads as a URL', (url: string) => ({ toString: () => url }) as unknown as string],
  ])('%s', async (_name, make) => {
    const response = await client.fetch(make(`${recorder.origin}/a?b#c`));
    expect(response.url).toBe(`${recorder.origin}/a?b`);
    expect(response.redirected).toBe(false);
    expect(last()).toMatchObject({ method: 'GET', target: '/a?b' });
    expect(await verdictOn(last())).toBe('accepted');
  });

  it.each(['/relative', '', 'http://', 'http://[::1', 'nonsense'])(
    '%j is a TypeError, as with fetch',
    async (url) => {
      await expect(fetch(url)).rejects.toThrow(TypeError);
      await expect(client.fetch(url)).rejects.toThrow(TypeError);
    },
  );

  it.each(['http://user@{host}/', 'http://user:pass@{host}/', 'http://:pass@{host}/'])(
    'a URL with credentials is a TypeError, as with fetch, and is not in the message: %s',
    async (template) => {
      const url = template.replace('{host}', recorder.authority);
      await expect(fetch(url)).rejects.toThrow(TypeError);
      const error = await client.fetch(url).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).not.toMatch(/user@|pass@|pass\b/);
      expect(recorder.requests).toEqual([]);
    },
  );

  it.each(['data:,x', 'file:///etc/hostname', 'ftp://127.0.0.1/', 'about:blank'])(
    '%s is a TypeError: there is nobody to sign it for',
    async (url) => {
      await expect(client.fetch(url)).rejects.toThrow('Only http and https URLs can be signed.');
    },
  );
});

describe('the target', () => {
  it.each([
    '/',
    '/?',
    '/?a=b&a=b&&=&b',
    '/a%2Fb/%2e%2E/c%20d',
    '//double//slashes/',
    '/a/../b/./c',
    '/ä€ ?ä€ &"<>`{}|^\'',
    "/!$&'()*+,;=:@-._~?!$'()*+,;=:@-._~/?",
    '/?redirect=https://other.example/#no',
    '/\\back\\slash?\\',
  ])('%s is signed as it is sent', async (target) => {
    await fetch(recorder.origin + target);
    await client.fetch(recorder.origin + target);
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect(signed.target).toBe(plain.target);
    expect(await verdictOn(signed)).toBe('accepted');
  });
});

describe('the host', () => {
  it.each([
    ['an IPv6 address', 'http://[::1]:{port}/', '[::1]:{port}'],
    ['an IPv6 address written out', 'http://[2001:DB8:0:0::0001]:{port}/', '[2001:db8::1]:{port}'],
    ['an IDN', 'http://BÜCHER.test:{port}/', 'xn--bcher-kva.test:{port}'],
    ['capitals', 'http://LocalHost:{port}/', 'localhost:{port}'],
    ['a number', 'http://0x7f.1:{port}/', '127.0.0.1:{port}'],
    ['a final dot', 'http://api.test.:{port}/', 'api.test.:{port}'],
    ['an underscore', 'http://my_api.test:{port}/', 'my_api.test:{port}'],
  ])('%s', async (_name, url, authority) => {
    const dispatcher = await createLoopbackDispatcher();
    // An address needs no look-up, so the one that is not this machine's is led here by hand.
    const led: typeof fetch = (input, init) => {
      const to = new URL(String(input));
      if (!to.hostname.startsWith('[')) return fetchWith(dispatcher)(input, init);
      return relay(to, init as RequestInit);
    };
    const there = createClient({ signer: () => signerOf('controller'), fetch: led });
    await there.fetch(url.replace('{port}', String(recorder.port)));
    expect(last().authority).toBe(authority.replace('{port}', String(recorder.port)));
    expect(await verdictOn(last())).toBe('accepted');
    await dispatcher.close();
  });

  it('a default port is not signed', async () => {
    const sent: Recorded[] = [];
    const fetchNothing: typeof fetch = async (input, init) => {
      const { host, pathname } = new URL(String(input));
      const headers = Object.fromEntries(
        [...new Headers(init?.headers)].map(([name, value]) => [name, [value]]),
      );
      sent.push({ method: 'GET', target: pathname, authority: host, headers } as unknown as Recorded);
      return new Response();
    };
    const there = createClient({ signer: () => signerOf('controller'), fetch: fetchNothing });
    await there.fetch('http://api.test:80/');
    await there.fetch('https://api.test:443/');
    for (const request of sent) {
      expect(request.authority).toBe('api.test');
      expect(await verdictOn(request)).toBe('accepted');
    }
  });

  it('a Host header given by the caller is dropped', async () => {
    await client.fetch(recorder.origin, { headers: { Host: 'other.example' } });
    await client.fetch(new Request(recorder.origin, { headers: { host: 'other.example' } }));
    for (const request of recorder.requests) {
      expect(request.header('host')).toBe(recorder.authority);
      expect(await verdictOn(request)).toBe('accepted');
    }
    expect(recorder.requests.length).toBe(2);
  });
});

describe('the method', () => {
  it.each(['get', 'Post', 'PUT', 'delete', 'oPTIONS', 'head', 'PATCH', 'PROPFIND'])('%s', async (method) => {
    await fetch(recorder.origin, { method });
    await client.fetch(recorder.origin, { method });
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect(signed.method).toBe(plain.method);
    expect(await verdictOn(signed)).toBe('accepted');
  });

  it('patch stays in lower case, as in the Fetch standard, and is signed that way', async () => {
    let sent: Parameters<typeof fetch> = [''];
    const there = createClient({
      signer: () => signerOf('controller'),
      fetch: async (...call) => {
        sent = call;
        return new Response();
      },
    });
    await there.fetch('http://localhost/', { method: 'patch' });
    expect(sent[1]?.method).toBe('patch');
    const view = (method: string) => ({
      method,
      target: '/',
      authority: 'localhost',
      headers: { authorization: [new Headers(sent[1]?.headers).get('authorization') as string] },
    });
    expect(await verdictOn(view('patch') as unknown as Recorded)).toBe('accepted');
    expect(await verdictOn(view('PATCH') as unknown as Recorded)).toBe('invalid_signature');
  });

  it.each(['CONNECT', 'TRACE', 'in valid', ''])('%j is a TypeError, as with fetch', async (method) => {
    await expect(fetch(recorder.origin, { method })).rejects.toThrow(TypeError);
    await expect(client.fetch(recorder.origin, { method })).rejects.toThrow(TypeError);
    expect(recorder.requests).toEqual([]);
  });
});

describe('headers', () => {
  it.each([
    ['an object', { 'X-A': '1', 'x-b': ' 2 ' }],
    [
      'pairs',
      [
        ['X-A', '1'],
        ['x-b', '2'],
        ['x-a', '3'],
      ] as [string, string][],
    ],
    ['Headers', new Headers({ 'X-A': '1', cookie: 'a=b; c=d' })],
  ])('%s go out as with fetch', async (_name, headers) => {
    await fetch(recorder.origin, { headers });
    await client.fetch(recorder.origin, { headers });
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect({ ...signed.headers, authorization: undefined }).toEqual({
      ...plain.headers,
      authorization: undefined,
    });
    expect(await verdictOn(signed)).toBe('accepted');
  });

  it('of init replace those of the Request, as with fetch', async () => {
    const make = () =>
      new Request(recorder.origin, {
        method: 'POST',
        body: 'x',
        headers: { 'x-a': '1', 'content-type': 'a/b' },
      });
    await fetch(make(), { headers: { 'x-b': '2' } });
    await client.fetch(make(), { headers: { 'x-b': '2' } });
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect(signed.header('x-a')).toBeUndefined();
    expect(signed.header('x-b')).toBe('2');
    expect(signed.header('content-type')).toBe(plain.header('content-type'));
    expect(await verdictOn(signed)).toBe('accepted');
  });

  it('a bearer token of the caller stays and is signed, and the signature travels next to it', async () => {
    await client.fetch(recorder.origin, { headers: { Authorization: 'Bearer abc' } });
    expect(last().header('authorization')).toBe('Bearer abc');
    expect(last().header('signature-input')).toMatch(/^amesh=\(.*"authorization"\);created=/);
    expect(await verdictOn(last())).toBe('accepted');
    const stolen = { ...last(), headers: { ...last().headers, authorization: ['Bearer abd'] } };
    expect(await verdictOn(stolen)).toBe('invalid_signature');
  });

  it('format rfc9421 does the same without a token', async () => {
    const other = createClient({ signer: () => signerOf('controller'), format: 'rfc9421' });
    await other.fetch(recorder.origin, { method: 'POST', body: 'x' });
    expect(last().header('authorization')).toBeUndefined();
    expect(last().header('signature')).toMatch(/^amesh=:/);
    expect(await verdictOn(last())).toBe('accepted');
  });

  it('a signature of another program stays next to ours', async () => {
    await client.fetch(recorder.origin, {
      headers: { Authorization: 'Bearer abc', 'Signature-Input': 'b=("@method")', Signature: 'b=:AAAA:' },
    });
    expect(last().header('signature')).toMatch(/^b=:AAAA:, amesh=:/);
    expect(await verdictOn(last())).toBe('accepted');
  });

  it('AuthMesh-Target names the target that the host belongs to', async () => {
    const other = createClient({
      signer: () => signerOf('controller'),
      targetOf: async (authority) => (authority === recorder.authority ? 'am_0123456789abcdef' : undefined),
    });
    await other.fetch(recorder.origin);
    expect(last().header('authmesh-target')).toBe('am_0123456789abcdef');
    expect(await verdictOn(last())).toBe('wrong_target');
    await other.fetch(recorder.origin.replace('127.0.0.1', 'localhost'));
    expect(last().header('authmesh-target')).toBeUndefined();
  });

  it('a header that no signature can cover is a TypeError, and nothing is sent', async () => {
    const call = client.fetch(recorder.origin, {
      method: 'POST',
      body: 'x',
      headers: { 'content-type': 'a/é' },
    });
    await expect(call).rejects.toThrow(/content-type.*not plain ASCII/);
    expect(recorder.requests).toEqual([]);
  });
});

describe('what the caller gave', () => {
  const slow = createClient({
    signer: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return signerOf('controller');
    },
    targetOf: () => new Promise((resolve) => setImmediate(() => resolve(undefined))),
  });

  it('may be changed after the call', async () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const headers = new Headers({ 'x-a': 'before' });
    const url = new URL(`${recorder.origin}/before`);
    const body = new FormData();
    body.set('field', 'before');
    const init: RequestInit = { method: 'POST', body: bytes, headers, redirect: 'error' };
    const calls = [
      slow.fetch(url, init),
      slow.fetch(url, { ...init, body }),
      slow.fetch(url, { ...init, body: bytes.buffer }),
    ];
    bytes.fill(9);
    body.set('field', 'after');
    headers.set('x-a', 'after');
    headers.set('authorization', 'Bearer after');
    url.pathname = '/after';
    Object.assign(init, { method: 'PUT', body: 'after', signal: AbortSignal.abort(), redirect: 'after' });
    await Promise.all(calls);
    const bodies = recorder.requests.map((request) => request.body.toString('latin1'));
    expect(bodies.filter((text) => text === '\x01\x02\x03')).toHaveLength(2);
    expect(bodies.filter((text) => /\r\n\r\nbefore\r\n/.test(text))).toHaveLength(1);
    for (const request of recorder.requests) {
      expect(request).toMatchObject({ method: 'POST', target: '/before' });
      expect(request.header('x-a')).toBe('before');
      expect(await verdictOn(request)).toBe('accepted');
    }
  });

  it('the headers of a Request may be changed after the call', async () => {
    const request = new Request(recorder.origin, { headers: { 'x-a': 'before' } });
    const call = slow.fetch(request);
    request.headers.set('x-a', 'after');
    request.headers.set('content-type', 'after/after');
    await call;
    expect(last().header('x-a')).toBe('before');
    expect(last().header('content-type')).toBeUndefined();
    expect(await verdictOn(last())).toBe('accepted');
  });

  it('is not changed by the call', async () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const headers = { Host: 'x.example', 'Content-Digest': 'sha-256=:AAAA:' };
    const init = Object.freeze({ method: 'post', body: bytes, headers: Object.freeze(headers) });
    const url = new URL(`${recorder.origin}/#fragment`);
    await client.fetch(url, init);
    expect(url.hash).toBe('#fragment');
    expect(init).toEqual({ method: 'post', body: Uint8Array.of(1, 2, 3), headers });
    const request = new Request(recorder.origin, init);
    const before = [...request.headers];
    await client.fetch(request);
    expect([...request.headers]).toEqual(before);
    expect(request.bodyUsed).toBe(true);
    await expect(fetch(request)).rejects.toThrow(TypeError);
  });

  it('can be a Request in place of init, as with fetch', async () => {
    const make = () =>
      new Request('http://other.example/', { method: 'PUT', body: 'x', headers: { 'x-a': '1' } });
    await fetch(recorder.origin, make());
    await client.fetch(recorder.origin, make());
    const [plain, signed] = recorder.requests as [Recorded, Recorded];
    expect(signed).toMatchObject({ method: 'PUT', body: plain.body });
    expect(signed.header('x-a')).toBe('1');
    expect(await verdictOn(signed)).toBe('accepted');
  });

  it('can have null for init, as with fetch', async () => {
    await fetch(recorder.origin, null as unknown as RequestInit);
    await client.fetch(recorder.origin, null as unknown as RequestInit);
    expect(recorder.requests).toHaveLength(2);
  });
});

describe('signRequest', () => {
  it('signs a Request without changing it, and does not sign one that was already read', async () => {
    const signer = await signerOf('controller');
    const request = new Request(`${recorder.origin}/a?b`, { method: 'POST', body: 'x' });
    const signed = await signRequest(request, signer);
    expect(request.headers.has('authorization')).toBe(false);
    await fetch(signed);
    expect(await verdictOn(last())).toBe('accepted');
    await expect(signRequest(request, signer)).rejects.toThrow('The body of this Request was already read.');
  });

  it('takes the headers before anybody can change them', async () => {
    const signer = await signerOf('controller');
    const request = new Request(recorder.origin, {
      method: 'POST',
      body: 'x',
      headers: { 'content-type': 'a/b' },
    });
    const call = signRequest(request, signer);
    request.headers.set('content-type', 'c/d');
    await fetch(await call);
    const headers: Record<string, string> = { 'content-type': 'a/b' };
    const view = {
      method: 'POST',
      target: '/',
      authority: recorder.authority,
      headers,
      body: async () => Buffer.from('x'),
    };
    const viewed = signRequest(view, signer);
    headers['content-type'] = 'c/d';
    const { headers: signed } = await viewed;
    expect(signed['content-type']).toBe('a/b');
    await fetch(recorder.origin, { method: 'POST', body: 'x', headers: signed as Record<string, string> });
    for (const sent of recorder.requests) expect(await verdictOn(sent)).toBe('accepted');
    expect(recorder.requests).toHaveLength(2);
  });
});

describe('the signal', () => {
  const reason = new Error('enough');

  it('aborted before the call: nothing is opened, signed or sent', async () => {
    let opened = 0;
    const there = createClient({
      signer: () => {
        opened++;
        return signerOf('controller');
      },
    });
    const signal = AbortSignal.abort(reason);
    await expect(there.fetch(recorder.origin, { signal })).rejects.toBe(reason);
    await expect(there.fetch(new Request(recorder.origin, { signal }))).rejects.toBe(reason);
    expect([opened, recorder.requests.length]).toEqual([0, 0]);
  });

  it('aborted while a stream is read: the stream is cancelled', async () => {
    const controller = new AbortController();
    let told: unknown;
    const body = new ReadableStream({
      cancel(given) {
        told = given;
      },
    });
    const call = client.fetch(recorder.origin, { method: 'POST', body, signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(told).toBe(reason);
    expect(recorder.requests).toEqual([]);
  });

  it('aborted while a key is opened: the call ends, and nothing is signed', async () => {
    let give: (signer: Awaited<ReturnType<typeof signerOf>>) => void = () => {};
    let signed = 0;
    const there = createClient({
      signer: () =>
        new Promise((resolve) => {
          give = resolve;
        }),
    });
    const controller = new AbortController();
    const call = there.fetch(recorder.origin, { signal: controller.signal });
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    const signer = await signerOf('controller');
    give({
      ...signer,
      sign(message) {
        signed++;
        return signer.sign(message);
      },
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect([signed, recorder.requests.length]).toEqual([0, 0]);
    await there.fetch(recorder.origin);
    expect(signed).toBe(1);
  });

  it('aborted while the response is awaited, or its body read', async () => {
    const controller = new AbortController();
    recorder.answer = () => controller.abort(reason);
    await expect(client.fetch(recorder.origin, { signal: controller.signal })).rejects.toBe(reason);
    const second = new AbortController();
    recorder.answer = (_request, response) => void response.write('first');
    const response = await client.fetch(new Request(recorder.origin, { signal: second.signal }));
    second.abort();
    await expect(response.text()).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('null in init takes away the signal of the Request, as with fetch', async () => {
    const request = new Request(recorder.origin, { signal: AbortSignal.abort(reason) });
    expect((await fetch(request, { signal: null })).status).toBe(200);
    expect((await client.fetch(request, { signal: null })).status).toBe(200);
  });
});

describe('other options', () => {
  it.each([
    ['of init', (url: string, options: RequestInit) => client.fetch(url, options)],
    [
      'of init next to a Request',
      (url: string, options: RequestInit) => client.fetch(new Request(url), options),
    ],
    ['of a Request', (url: string, options: RequestInit) => client.fetch(new Request(url, options))],
  ])('a dispatcher of Node works: %s', async (_name, call) => {
    const dispatcher = await createRecordingDispatcher();
    await call(`${recorder.origin}/a`, { method: 'POST', body: 'x', dispatcher } as RequestInit);
    expect(dispatcher.targets).toEqual(['POST /a']);
    expect(await verdictOn(last())).toBe('accepted');
    await dispatcher.close();
  });

  it('reach the fetch that sends', async () => {
    let sent: RequestInit = {};
    const there = createClient({
      signer: () => signerOf('controller'),
      fetch: async (_input, init) => {
        sent = init as RequestInit;
        return new Response();
      },
    });
    const options = {
      keepalive: true,
      credentials: 'omit',
      cache: 'no-store',
      mode: 'cors',
      own: 1,
    } as const;
    await there.fetch(recorder.origin, options);
    expect(sent).toMatchObject(options);
    await there.fetch(recorder.origin, Object.create(options));
    expect(sent).toMatchObject(options);
  });

  it('a wrong one in createClient is a TypeError', () => {
    const signer = () => signerOf('controller');
    expect(() => createClient({ signer, nope: 1 } as never)).toThrow(/has no option "nope"/);
    expect(() => createClient({} as never)).toThrow('createClient() needs a signer.');
    expect(() => createClient({ signer, format: 'jws' } as never)).toThrow(TypeError);
    expect(() => createClient({ signer, maxBufferedBytes: -1 })).toThrow(TypeError);
    for (const name of ['fetch', 'targetOf', 'onRefusal', 'now'])
      expect(() => createClient({ signer, [name]: 'x' } as never)).toThrow(`${name} must be a function.`);
  });
});

/** Carries a request to the recorder with the Host header of its own URL. */
async function relay(to: URL, init: RequestInit): Promise<Response> {
  const lines = [...new Headers(init.headers)].map(([name, value]) => `${name}: ${value}`);
  const request = [`${init.method} ${to.pathname} HTTP/1.1`, `Host: ${to.host}`, ...lines, '', ''].join(
    '\r\n',
  );
  const { status } = await exchange(recorder.port, request);
  return new Response(null, { status });
}
