import type { ServerResponse } from 'node:http';
import {
  type Client,
  createClient,
  createVerifier,
  InMemoryNonceStore,
  isAmeshError,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import { signerOf } from '../support/core';
import { createLoopbackDispatcher, createRecordingDispatcher, fetchWith } from '../support/dispatcher';
import { type Recorded, type Recorder, startRecorder } from '../support/recorder';
import { vectorAllowList } from '../support/vectors';
import { verdictOn } from '../support/verdict';

/** The server that is called, another one, and one of https. All are this machine, under whatever name. */
let first: Recorder;
let other: Recorder;
let secure: Recorder;
let dispatcher: Awaited<ReturnType<typeof createLoopbackDispatcher>>;

/** Everything that the key has signed, and everything that has arrived anywhere, in order. */
const signatures: string[] = [];
const arrived: Recorded[] = [];

beforeAll(async () => {
  const certificate = createCertificate('device.test');
  [first, other, secure] = await Promise.all([
    startRecorder(),
    startRecorder(),
    startRecorder(undefined, certificate),
  ]);
  dispatcher = await createLoopbackDispatcher({ ca: certificate.cert });
});
beforeEach(() => {
  signatures.length = 0;
  arrived.length = 0;
  for (const recorder of [first, other, secure]) {
    recorder.requests.length = 0;
    script(recorder, {});
  }
});
afterAll(async () => {
  await dispatcher.close();
  await Promise.all([first.close(), other.close(), secure.close()]);
});

const TARGET = 'am_0123456789abcdef';
const TOKEN_HEADERS = {
  Authorization: 'Bearer caller',
  'Proxy-Authorization': 'Basic caller',
  'Signature-Input': 'b=()',
  Signature: 'b=:AAAA:',
};
const HEADERS = { Cookie: 'session=1', 'X-Own': 'kept', 'Content-Language': 'de', 'AuthMesh-Extra': '1' };

function clientWith(options: Partial<Parameters<typeof createClient>[0]> = {}): Client {
  return createClient({
    signer: async () => {
      const { publicKey, sign } = await signerOf('controller');
      return {
        publicKey,
        sign(message) {
          signatures.push(new TextDecoder().decode(message));
          return sign(message);
        },
      };
    },
    targetOf: () => TARGET,
    fetch: fetchWith(dispatcher),
    ...options,
  });
}

type Step = (response: ServerResponse, request: Recorded) => void;

/** What a server answers by path; `ok` elsewhere. */
function script(recorder: Recorder, steps: Readonly<Record<string, Step>>): void {
  recorder.answer = (request, response) => {
    arrived.push(request);
    const step = steps[request.target.split('?', 1)[0] as string];
    if (step === undefined) response.end('ok');
    else step(response, request);
  };
}

const redirect =
  (status: number, location: string): Step =>
  (response) =>
    void response.writeHead(status, { location }).end('elsewhere');

/** Method and body after a redirect, by the Fetch standard. */
function after(status: number, method: string): { method: string; keepsBody: boolean } {
  const toGet =
    ((status === 301 || status === 302) && method === 'POST') ||
    (status === 303 && method !== 'GET' && method !== 'HEAD');
  return { method: toGet ? 'GET' : method, keepsBody: !toGet && method !== 'GET' && method !== 'HEAD' };
}

const CREDENTIALS = /^(?:authorization|proxy-authorization|cookie|signature.*|authmesh-.*)$/;
const credentialsOf = (request: Recorded) =>
  Object.keys(request.headers).filter((name) => CREDENTIALS.test(name));
const contentOf = (request: Recorded) =>
  Object.keys(request.headers).filter((name) => name.startsWith('content-'));
const nonceOf = (request: Recorded) => /nonce="([\w-]{22})"/.exec(request.header('authorization') ?? '')?.[1];
const accepted = (request: Recorded) =>
  verdictOn(request, { allowList: { ...vectorAllowList, deviceId: TARGET, hosts: [request.authority] } });

/** What a signature is for: `GET 127.0.0.1:1234 /path ?query`. */
const signedFor = () =>
  signatures.map((base) =>
    ['@method', '@authority', '@path', '@query']
      .map((name) => new RegExp(`^"${name}": (.*)$`, 'm').exec(base)?.[1])
      .join(' '),
  );

const CASES = [301, 302, 303, 307, 308].flatMap((status) =>
  ['GET', 'HEAD', 'POST', 'PUT'].map((method) => ({ status, method })),
);
const BODY = '{"amount":1}';
const initOf = (method: string): RequestInit =>
  method === 'GET' || method === 'HEAD'
    ? { method, headers: HEADERS }
    : { method, headers: { ...HEADERS, 'Content-Type': 'application/json' }, body: BODY };

describe.each(CASES)('a redirect by $status of a $method', ({ status, method }) => {
  const next = after(status, method);
  const maySign = next.method === 'GET' || next.method === 'HEAD';

  it.each([
    ['over loopback', () => first, () => first.origin],
    ['over https', () => secure, () => `https://device.test:${secure.port}`],
  ])('to the same origin %s', async (_name, recorderOf, originOf) => {
    const [recorder, origin] = [recorderOf(), originOf()];
    script(recorder, { '/start': redirect(status, '/next?b') });
    const call = clientWith().fetch(`${origin}/start?a`, initOf(method));
    const authority = new URL(origin).host;
    if (!maySign) {
      await expectRefused(call, `${origin}/next?b`);
      expect(signedFor()).toEqual([`${method} ${authority} /start ?a`]);
      return;
    }
    const response = await call;
    expect(response).toMatchObject({ status: 200, redirected: true, url: `${origin}/next?b` });
    expect(signedFor()).toEqual([`${method} ${authority} /start ?a`, `${next.method} ${authority} /next ?b`]);
    const [one, two] = arrived as [Recorded, Recorded];
    expect(two).toMatchObject({ method: next.method, target: '/next?b', body: Buffer.alloc(0) });
    expect(two.header('cookie')).toBe('session=1');
    expect(two.header('x-own')).toBe('kept');
    expect(contentOf(two)).toEqual(next.method === method ? ['content-language'] : []);
    expect(nonceOf(two)).not.toBe(nonceOf(one));
    expect([await accepted(one), await accepted(two)]).toEqual(['accepted', 'accepted']);
  });

  it.each([
    ['another port', () => first.origin, () => other.origin],
    ['another name of the same machine', () => first.origin, () => `http://localhost:${first.port}`],
    ['plain http, from https', () => secure.origin, () => first.origin],
    ['plain http to a name, from loopback', () => first.origin, () => `http://device.test:${other.port}`],
    ['https, from plain http', () => first.origin, () => secure.origin],
  ])('to %s', async (_name, from, to) => {
    for (const recorder of [first, secure]) script(recorder, { '/start': redirect(status, `${to()}/next`) });
    const response = await clientWith().fetch(`${from()}/start`, initOf(method));
    expect(response).toMatchObject({ status: 200, redirected: true, url: `${to()}/next` });
    expect(signedFor()).toEqual([`${method} ${new URL(from()).host} /start ?`]);
    expectUnsigned(arrived[1] as Recorded, next, method);
    expect(arrived).toHaveLength(2);
  });

  it('to another origin, and further within it', async () => {
    script(first, { '/start': redirect(status, `${other.origin}/there`) });
    script(other, { '/there': redirect(status, '/more') });
    const response = await clientWith().fetch(`${first.origin}/start`, initOf(method));
    expect(response).toMatchObject({ status: 200, redirected: true, url: `${other.origin}/more` });
    expect(signedFor()).toEqual([`${method} ${first.authority} /start ?`]);
    for (const request of arrived.slice(1)) expectUnsigned(request, next, method);
    expect(arrived).toHaveLength(3);
  });

  it('to another origin, and back again', async () => {
    script(first, { '/start': redirect(status, `${other.origin}/there`) });
    script(other, { '/there': redirect(status, `${first.origin}/back`) });
    const response = await clientWith().fetch(`${first.origin}/start`, initOf(method));
    expect(response).toMatchObject({ status: 200, redirected: true, url: `${first.origin}/back` });
    expect(signedFor()).toEqual([`${method} ${first.authority} /start ?`]);
    const [, there, back] = arrived as [Recorded, Recorded, Recorded];
    for (const request of [there, back]) expectUnsigned(request, next, method);
    expect(arrived).toHaveLength(3);
  });

  it('over plain http, which anybody in between can have written', async () => {
    const origin = `http://device.test:${first.port}`;
    script(first, { '/start': redirect(status, '/next') });
    await expectRefused(clientWith().fetch(`${origin}/start`, initOf(method)), `${origin}/next`);
    expect(signedFor()).toEqual([`${method} device.test:${first.port} /start ?`]);
  });
});

describe('credentials of the caller', () => {
  it('reach the same origin again, signed, and no other origin', async () => {
    script(first, {
      '/start': redirect(302, '/next'),
      '/next': redirect(302, `${other.origin}/there`),
    });
    script(other, { '/there': redirect(302, `${first.origin}/back`) });
    await clientWith().fetch(`${first.origin}/start`, { headers: { ...HEADERS, ...TOKEN_HEADERS } });
    const [start, next, there, back] = arrived as [Recorded, Recorded, Recorded, Recorded];
    for (const request of [start, next]) {
      expect(request.header('authorization')).toBe('Bearer caller');
      expect(request.header('signature')).toMatch(/^b=:AAAA:, amesh=:/);
      expect(await accepted(request)).toBe('accepted');
    }
    for (const request of [there, back]) {
      expect(credentialsOf(request)).toEqual([]);
      expect(request.header('x-own')).toBe('kept');
    }
    expect(signatures).toHaveLength(2);
  });

  it('of a Request do not reach another origin either', async () => {
    script(first, { '/start': redirect(307, `${other.origin}/there`) });
    const headers = { ...HEADERS, ...TOKEN_HEADERS };
    await clientWith().fetch(new Request(`${first.origin}/start`, { method: 'PUT', body: BODY, headers }));
    const [, there] = arrived as [Recorded, Recorded];
    expect(credentialsOf(there)).toEqual([]);
    expect(there.body.toString()).toBe(BODY);
  });
});

describe('redirects without end', () => {
  it.each([
    ['in one origin', () => redirect(302, '/start'), 21, 21],
    ['between two', () => redirect(302, `${other.origin}/start`), 21, 1],
  ])('%s: twenty are followed', async (_name, step, requests, signed) => {
    script(first, { '/start': step() });
    script(other, { '/start': redirect(302, `${first.origin}/start`) });
    const error = await clientWith()
      .fetch(`${first.origin}/start`)
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/more than 20 times/);
    expect([arrived.length, signatures.length]).toEqual([requests, signed]);
  });

  it('the twentieth redirect leads to a response', async () => {
    let hops = 0;
    script(first, {
      '/start': (response) =>
        void (hops++ < 20 ? redirect(302, '/start') : ok)(response, arrived[0] as Recorded),
    });
    expect((await clientWith().fetch(`${first.origin}/start`)).status).toBe(200);
    expect(arrived).toHaveLength(21);
  });
});

describe('a Location', () => {
  const fetchStart = () => clientWith().fetch(`${first.origin}/dir/start?q`);

  it.each([
    ['relative', 'next', '/dir/next'],
    ['with a query only', '?r', '/dir/start?r'],
    ['with dots', '../../../x/%2e%2e/y', '/y'],
    ['with a fragment', '/next#fragment', '/next'],
    ['in UTF-8, unescaped', Buffer.from('/nächste €').toString('latin1'), '/n%C3%A4chste%20%E2%82%AC'],
    ['in Latin-1, unescaped', '/\xe4', '/%EF%BF%BD'],
    ['with the default scheme left out', 'http:next', '/dir/next'],
  ])('%s stays in the origin and is signed', async (_name, location, target) => {
    script(first, { '/dir/start': once(redirect(302, location)) });
    const response = await fetchStart();
    expect(response.url).toBe(first.origin + target);
    expect(arrived[1]?.target).toBe(target);
    expect(await accepted(arrived[1] as Recorded)).toBe('accepted');
  });

  it.each([
    ['of two slashes', () => `//${other.authority}/next`],
    ['of two backslashes', () => `\\\\${other.authority}/next`],
    ['of slash and backslash', () => `/\\${other.authority}/next`],
    ['with spaces around it', () => `  ${other.origin}/next  `],
    ['in capitals', () => `HTTP://${other.authority}/next`],
    ['with a number for an address', () => `http://0x7f000001:${other.port}/next`],
  ])('%s leads to another origin and is not signed', async (_name, location) => {
    script(first, { '/dir/start': redirect(302, location()) });
    await fetchStart();
    expect(arrived[1]).toMatchObject({ authority: other.authority, target: '/next' });
    expect(credentialsOf(arrived[1] as Recorded)).toEqual([]);
    expect(signatures).toHaveLength(1);
  });

  it.each([
    ['with a user', () => `http://user@${first.authority}/next`],
    ['with user and password', () => `http://user:secret@${other.authority}/next`],
    ['of a script', () => 'javascript:alert(1)'],
    ['of data', () => 'data:text/plain,x'],
    ['of a file', () => 'file:///etc/passwd'],
    ['of a WebSocket', () => `ws://${first.authority}/next`],
    ['without a host', () => 'http://'],
    ['with an invalid port', () => 'http://127.0.0.1:99999/'],
  ])('%s is a TypeError, and nothing follows', async (_name, location) => {
    script(first, { '/dir/start': redirect(302, location()) });
    const error = await fetchStart().catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).not.toMatch(/user|secret|passwd/);
    expect([arrived.length, signatures.length]).toEqual([1, 1]);
  });

  it('that is missing leaves the response as it is', async () => {
    script(first, { '/dir/start': (response) => void response.writeHead(302).end('here') });
    const response = await fetchStart();
    expect([response.status, response.redirected, await response.text()]).toEqual([302, false, 'here']);
  });

  it('that contains a secret is complete in the error, but without its query in the message', async () => {
    script(first, { '/dir/start': redirect(307, '/next?token=secret') });
    const error = await clientWith()
      .fetch(`${first.origin}/dir/start`, { method: 'POST' })
      .catch((thrown) => thrown);
    expect(error.location).toBe(`${first.origin}/next?token=secret`);
    expect(error.message).toContain(`${first.origin}/next`);
    expect(error.message).not.toContain('secret');
  });

  it.each([200, 300, 304, 305, 306, 401, 500])('with a %i means nothing', async (status) => {
    script(first, {
      '/dir/start': (response) => void response.writeHead(status, { location: '/next' }).end(),
    });
    expect((await fetchStart()).status).toBe(status);
    expect(arrived).toHaveLength(1);
  });
});

describe('the option redirect', () => {
  beforeEach(() => script(first, { '/start': redirect(302, '/next') }));

  it.each([
    ['of init', () => clientWith().fetch(`${first.origin}/start`, { redirect: 'manual' })],
    ['of a Request', () => clientWith().fetch(new Request(`${first.origin}/start`, { redirect: 'manual' }))],
  ])('manual %s returns the response itself', async (_name, call) => {
    const response = await call();
    expect([response.status, response.headers.get('location'), response.redirected]).toEqual([
      302,
      '/next',
      false,
    ]);
    expect(arrived).toHaveLength(1);
  });

  it('error is a TypeError of fetch', async () => {
    await expect(clientWith().fetch(`${first.origin}/start`, { redirect: 'error' })).rejects.toThrow(
      TypeError,
    );
    expect(arrived).toHaveLength(1);
  });

  it('follow in init overrides the option of the Request', async () => {
    const request = new Request(`${first.origin}/start`, { redirect: 'error' });
    expect((await clientWith().fetch(request, { redirect: 'follow' })).redirected).toBe(true);
  });
});

describe('an answer whose body never ends does not hold up what follows it, nor keep a connection', () => {
  const late = { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"' };
  it.each([
    ['of a redirect', 302, { location: '/next' }],
    ['of a redirect that is refused', 302, { location: 'javascript:alert(1)' }],
    ['about the time', 401, late],
    ['about a time that is far off', 401, { ...late, date: new Date(0).toUTCString() }],
  ])('%s', async (_name, status, headers) => {
    let closed: Promise<unknown> | undefined;
    const endless: Step = (response) => {
      closed = new Promise((resolve) => response.on('close', resolve));
      response.writeHead(status, headers).write('endless');
    };
    script(first, { '/start': once(endless) });
    const [result] = await Promise.allSettled([clientWith().fetch(`${first.origin}/start`)]);
    if (result.status === 'fulfilled') expect(await result.value.text()).toBe('ok');
    await closed;
  });
});

describe('the options of a call', () => {
  const reason = new Error('enough');

  it.each([
    ['of init', (url: string, options: RequestInit) => clientWith().fetch(url, options)],
    [
      'of init next to a Request',
      (url: string, options: RequestInit) => clientWith().fetch(new Request(url), options),
    ],
    ['of a Request', (url: string, options: RequestInit) => clientWith().fetch(new Request(url, options))],
  ])('%s apply after a redirect, too', async (_name, call) => {
    for (const to of ['/next', `${other.origin}/next`]) {
      const controller = new AbortController();
      script(first, { '/start': redirect(302, to), '/next': () => controller.abort(reason) });
      script(other, { '/next': () => controller.abort(reason) });
      await expect(call(`${first.origin}/start`, { signal: controller.signal })).rejects.toBe(reason);
    }
    expect(arrived).toHaveLength(4);
  });

  it('such as a dispatcher in init', async () => {
    const recording = await createRecordingDispatcher();
    script(first, { '/start': redirect(302, '/next'), '/next': redirect(302, `${other.origin}/there`) });
    const client = clientWith({ fetch: undefined });
    for (const input of [`${first.origin}/start`, new Request(`${first.origin}/start`)]) {
      await client.fetch(input, { dispatcher: recording } as RequestInit);
      expect(recording.targets.splice(0)).toEqual(['GET /start', 'GET /next', 'GET /there']);
    }
    await recording.close();
  });
});

describe('the clock', () => {
  const T = 1_764_000_000;
  const dated =
    (seconds: number, more: Record<string, string> = {}): Step =>
    (response) => {
      const date = new Date(seconds * 1000).toUTCString();
      response.writeHead(401, {
        'www-authenticate': 'AuthMesh error="timestamp_out_of_range"',
        date,
        ...more,
      });
      response.end('{"error":"timestamp_out_of_range"}');
    };
  const createdOf = (request: Recorded) =>
    Number(/ts="(\d+)"/.exec(request.header('authorization') ?? '')?.[1]);

  /** A server that verifies under a clock of its own. */
  function verifying(recorder: Recorder, now: () => number, startedAt = 0, clockSkewSeconds = 30): void {
    const verifier = createVerifier({
      clockSkewSeconds,
      allowList: {
        ...vectorAllowList,
        deviceId: TARGET,
        hosts: [recorder.authority, `device.test:${recorder.port}`],
      },
      nonceStore: new InMemoryNonceStore({ now, startedAt }),
      now,
    });
    recorder.answer = async (request, response) => {
      arrived.push(request);
      const verdict = await verifier.verify(request);
      if (verdict.ok) response.end('ok');
      else response.writeHead(verdict.answer.status, verdict.answer.headers).end(verdict.answer.body);
    };
  }

  it.each([
    [-60, 30],
    [-31, 30],
    [-299, 30],
    [20, 10],
    [29, 10],
  ])(
    '%i s off, with a tolerance of %i s, over loopback: signed once more, and right from then on',
    async (offset, skew) => {
      verifying(first, () => Date.now() + offset * 1000, 0, skew);
      const client = clientWith();
      const init = { method: 'POST', body: BODY, headers: { 'content-type': 'application/json' } };
      expect((await client.fetch(`${first.origin}/a`, init)).status).toBe(200);
      expect(arrived.map(({ body }) => body.toString())).toEqual([BODY, BODY]);
      expect(nonceOf(arrived[0] as Recorded)).not.toBe(nonceOf(arrived[1] as Recorded));
      expect((await client.fetch(`${first.origin}/b`)).status).toBe(200);
      expect(arrived).toHaveLength(3);
    },
  );

  it('that is off over https: the same, under any name', async () => {
    verifying(secure, () => Date.now() - 60_000);
    expect((await clientWith().fetch(`https://device.test:${secure.port}/`)).status).toBe(200);
    expect(arrived).toHaveLength(2);
  });

  it('is corrected, and a stream is sent once more, too', async () => {
    verifying(first, () => Date.now() - 60_000);
    const body = new Blob([BODY]).stream();
    expect((await clientWith().fetch(first.origin, { method: 'POST', body })).status).toBe(200);
    expect(arrived.map((request) => request.body.toString())).toEqual([BODY, BODY]);
  });

  it('is corrected, and a Request is sent once more, although its body can only be read once', async () => {
    verifying(first, () => Date.now() - 60_000);
    const request = new Request(first.origin, { method: 'PUT', body: BODY });
    expect((await clientWith().fetch(request)).status).toBe(200);
    expect(arrived.map(({ body }) => body.toString())).toEqual([BODY, BODY]);
  });

  it('exactly 300 s back are corrected, 301 are not', async () => {
    const now = () => T * 1000;
    script(first, { '/300': once(dated(T - 300)), '/301': dated(T - 301) });
    expect((await clientWith({ now }).fetch(`${first.origin}/300`)).status).toBe(200);
    expect(arrived.map(createdOf)).toEqual([T, T - 300]);
    const error = await clientWith({ now })
      .fetch(`${first.origin}/301`)
      .catch((thrown) => thrown);
    expect(isAmeshError(error) && error.code).toBe('clock_skew_too_large');
  });

  it.each([
    ['over loopback', () => first, () => first.origin],
    [
      'over https, by the proxy that terminates TLS',
      () => secure,
      () => `https://device.test:${secure.port}`,
    ],
  ])('%s a forged Date makes nobody sign more than 30 s ahead', async (_name, recorderOf, originOf) => {
    const [recorder, origin] = [recorderOf(), originOf()];
    const client = clientWith({ now: () => T * 1000 });
    for (const ahead of [31, 60, 290, 299, 300]) {
      script(recorder, { '/': dated(T + ahead) });
      const error = await client.fetch(`${origin}/`).catch((thrown) => thrown);
      expect(error).toMatchObject({ code: 'clock_skew_too_large', differenceSeconds: ahead });
    }
    expect(arrived.map(createdOf)).toEqual([T, T, T, T, T]);
    script(recorder, { '/': once(dated(T + 30)) });
    expect((await client.fetch(`${origin}/`)).status).toBe(200);
    expect(createdOf(arrived.at(-1) as Recorded)).toBe(T + 30);
  });

  it('small steps ahead do not add up', async () => {
    const client = clientWith({ now: () => T * 1000 + 999 });
    for (const ahead of [15, 30, 15, 30, 45, 60]) {
      script(first, { '/': dated(T + ahead) });
      await client.fetch(first.origin).catch(() => {});
    }
    expect(Math.max(...arrived.map(createdOf))).toBe(T + 30);
  });

  it.each([0, 1, 200, 500, 999])('30 s ahead are 30 s, %i ms into a second', async (ms) => {
    const now = () => T * 1000 + ms;
    const client = clientWith({ now });
    for (const ahead of [30, 31, 30]) {
      script(first, { '/': dated(T + ahead) });
      await client.fetch(first.origin).catch(() => {});
    }
    for (const created of arrived.map(createdOf)) expect(created * 1000 - now()).toBeLessThanOrEqual(30_000);
  });

  it('a clock that is set back leaves nobody more than 30 s ahead of it', async () => {
    let nowMs = T * 1000;
    const signer = await signerOf('controller');
    const sign = async (message: Uint8Array) => {
      signatures.push(new TextDecoder().decode(message));
      return signer.sign(message);
    };
    const client = clientWith({
      now: () => nowMs,
      signer: { publicKey: signer.publicKey, sign },
      crypto: {
        ...nodeCrypto,
        randomBytes: (length) => {
          if (arrived.length === 1) nowMs -= 100_000; // while the second try is signed
          return nodeCrypto.randomBytes(length);
        },
      },
    });
    script(first, { '/': once(dated(T + 28)) });
    await client.fetch(first.origin);
    nowMs -= 100_000; // and once more
    await client.fetch(first.origin);
    expect(arrived.map(createdOf)).toEqual([T, T - 72, T - 172]);
  });

  it('a forged Date is forgotten at the first response that has the right one', async () => {
    const client = clientWith({ now: () => T * 1000 });
    script(first, { '/': once(dated(T + 28)) });
    await client.fetch(first.origin);
    script(first, {
      '/': (response) => void response.writeHead(200, { date: new Date(T * 1000).toUTCString() }).end('ok'),
    });
    for (let i = 0; i < 3; i++) await client.fetch(first.origin);
    expect(arrived.map(createdOf)).toEqual([T, T + 28, T + 28, T, T]);
  });

  it('a client that is really slow learns that from every server, with the fix', async () => {
    verifying(first, () => Date.now() + 45_000);
    const error = await clientWith()
      .fetch(first.origin)
      .catch((thrown) => thrown);
    expect(isAmeshError(error) && error.code).toBe('clock_skew_too_large');
    expect(error.message).toMatch(/is 4[45] s ahead of this machine's clock\. Set this machine's clock/);
    expect(signatures).toHaveLength(1);
  });

  it('a year off: an error that names the difference, and nothing more is signed', async () => {
    const now = () => T * 1000;
    script(first, { '/ahead': dated(T + 31_536_000), '/behind': dated(T - 31_536_000) });
    const ahead = await clientWith({ now })
      .fetch(`${first.origin}/ahead`)
      .catch((thrown) => thrown);
    expect(ahead).toMatchObject({ code: 'clock_skew_too_large', differenceSeconds: 31_536_000 });
    expect(ahead.message).toContain(
      `The clock of ${first.authority} is 31536000 s ahead of this machine's clock. Set this machine's clock (NTP): amesh signs at most 30 s ahead of it.`,
    );
    const behind = await clientWith({ now })
      .fetch(`${first.origin}/behind`)
      .catch((thrown) => thrown);
    expect(behind).toMatchObject({ code: 'clock_skew_too_large', differenceSeconds: -31_536_000 });
    expect(behind.message).toContain("31536000 s behind this machine's clock");
    expect([arrived.length, signatures.length]).toEqual([2, 2]);
  });

  it.each([
    ['over plain http to another machine', () => `http://device.test:${first.port}`, dated(T - 60)],
    ['out of a cache', () => first.origin, dated(T - 60, { age: '0' })],
    ['with an invalid Date', () => first.origin, dated(T, { date: 'yesterday' })],
    [
      'without a Date',
      () => first.origin,
      ((response, request) => {
        response.sendDate = false;
        response.setHeader('www-authenticate', 'AuthMesh error="timestamp_out_of_range"');
        response.writeHead(401).end();
        void request;
      }) as Step,
    ],
    ['of another scheme', () => first.origin, dated(T - 60, { 'www-authenticate': 'Basic realm="x"' })],
    [
      'for another reason',
      () => first.origin,
      dated(T - 60, { 'www-authenticate': 'AuthMesh error="unauthorized"' }),
    ],
    [
      'with another status',
      () => first.origin,
      ((response) => {
        const date = new Date((T - 60) * 1000).toUTCString();
        response
          .writeHead(403, { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"', date })
          .end();
      }) as Step,
    ],
  ])(
    '%s a response is not trusted: it is returned, and nothing more is signed',
    async (_name, origin, step) => {
      script(first, { '/': step });
      const client = clientWith({ now: () => T * 1000 });
      const response = await client.fetch(`${origin()}/`);
      expect([401, 403]).toContain(response.status);
      expect(response.bodyUsed).toBe(false);
      await response.text();
      script(first, {});
      await client.fetch(`${origin()}/`);
      expect(arrived.map(createdOf)).toEqual([T, T]);
      expect(signatures).toHaveLength(2);
    },
  );

  it('a server that refuses again gets no third signature', async () => {
    script(first, { '/': dated(T - 60) });
    const response = await clientWith({ now: () => T * 1000 }).fetch(first.origin);
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ error: 'timestamp_out_of_range' });
    expect(arrived.map(createdOf)).toEqual([T, T - 60]);
  });

  it('of one origin is not used for another', async () => {
    script(first, { '/': once(dated(T - 60)) });
    const client = clientWith({ now: () => T * 1000 });
    await client.fetch(first.origin);
    await client.fetch(other.origin);
    await client.fetch(`http://localhost:${first.port}`);
    await client.fetch(first.origin);
    expect(arrived.map(createdOf)).toEqual([T, T - 60, T, T, T - 60]);
  });

  it('of one client is not used for another', async () => {
    script(first, { '/': once(dated(T - 60)) });
    await clientWith({ now: () => T * 1000 }).fetch(first.origin);
    await clientWith({ now: () => T * 1000 }).fetch(first.origin);
    expect(arrived.map(createdOf)).toEqual([T, T - 60, T]);
  });

  it('is corrected after a redirect within the same origin, but not after a redirect out of it', async () => {
    script(first, {
      '/in': redirect(302, '/next'),
      '/next': once(dated(T - 60)),
      '/out': redirect(302, `${other.origin}/`),
    });
    script(other, { '/': dated(T - 60) });
    const now = () => T * 1000;
    expect((await clientWith({ now }).fetch(`${first.origin}/in`)).status).toBe(200);
    expect(arrived.map(createdOf)).toEqual([T, T, T - 60]);
    signatures.length = 0;
    expect((await clientWith({ now }).fetch(`${first.origin}/out`)).status).toBe(401);
    expect(signedFor()).toEqual([`GET ${first.authority} /out ?`]);
  });

  it('a server that has just restarted gets a new signature immediately', async () => {
    verifying(first, () => (T + 1) * 1000 + 100, T + 1);
    const client = clientWith({ now: () => T * 1000 + 900 });
    expect((await client.fetch(first.origin)).status).toBe(200);
    expect(arrived.map(createdOf)).toEqual([T, T + 1]);
    // A difference below two seconds is that of the Date header, which has whole ones: it is not kept.
    script(first, {});
    await client.fetch(first.origin);
    expect(arrived.map(createdOf)).toEqual([T, T + 1, T]);
  });
});

const ok: Step = (response) => void response.end('ok');

/** A step that is taken the first time; `ok` after it. */
function once(step: Step): Step {
  let taken = false;
  return (response, request) => {
    (taken ? ok : step)(response, request);
    taken = true;
  };
}

async function expectRefused(call: Promise<Response>, location: string): Promise<void> {
  const error = await call.catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'redirect_refused', location });
  expect(error.message).toContain(location.split('?', 1)[0]);
  expect(error.message).toMatch(/Call the final URL\.$/);
  expect(arrived).toHaveLength(1);
}

/** That a request carries what a stranger may have, and no more. */
function expectUnsigned(
  request: Recorded,
  next: { method: string; keepsBody: boolean },
  before: string,
): void {
  expect(request.method).toBe(next.method);
  expect(credentialsOf(request)).toEqual([]);
  expect(request.header('x-own')).toBe('kept');
  expect(request.body.toString()).toBe(next.keepsBody ? BODY : '');
  const kept = next.keepsBody ? ['content-language', 'content-length', 'content-type'] : ['content-language'];
  expect(contentOf(request).sort()).toEqual(next.method === before ? kept : []);
}
