import { type ClientOptions, type ClientRefusal, provenBy, withWorkingKey } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { beforeEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/core/encoding';
import { signerOf } from '../support/core';
import { asking } from '../support/proofs';
import { askingClient, type Passing, provingTarget, useProvingServer } from '../support/proving-server';
import { vectorAllowList, vectors } from '../support/vectors';

const server = useProvingServer();
const client = askingClient();

const RICH = {
  'content-type': 'application/json',
  etag: '"v1"',
  link: '</next>; rel=next',
  'set-cookie': ['a=1, b', 'c=2; Path=/'],
  age: '1',
  'retry-after': '5',
  'www-authenticate': 'Basic realm="x"',
  'authmesh-own': '1',
};

beforeEach(() => {
  server.reset();
  server.routes.set('/rich', () => ({ headers: RICH, body: '{"amount":1}' }));
  server.routes.set('/text', () => ({ headers: { 'content-type': 'text/plain;charset=utf-7' }, body: 'x' }));
  server.routes.set('/plain', () => ({ body: 'plain' }));
  server.routes.set('/empty', () => ({}));
  server.routes.set('/error', () => ({ status: 500, body: 'no' }));
  server.routes.set('/forbidden', () => ({ status: 403, body: '{"error":"forbidden"}' }));
  server.routes.set('/created', () => ({ status: 201, headers: { location: '/plain' }, body: 'x' }));
  server.routes.set('/redirect', () => ({ status: 302, headers: { location: '/plain' } }));
  server.routes.set('/none', () => ({ status: 204 }));
  server.routes.set('/part', () => ({ status: 206, headers: { 'content-range': 'bytes 0-0/5' }, body: 'p' }));
  server.routes.set('/events', () => ({ headers: { 'content-type': 'text/event-stream' }, body: events() }));
});

async function* inTwo() {
  yield Buffer.from('{"error":');
  await new Promise((resolve) => setTimeout(resolve, 20)); // until the first part has come
  yield Buffer.from('"wrong_host"}');
}

const discardBody = (response: Response) => response.body?.cancel();

async function* events() {
  yield Buffer.from('data: 1\n\n');
  yield Buffer.from('data: 2\n\n');
}

const digestOf = async (body: string) => `sha-256=:${toBase64(await nodeCrypto.sha256(Buffer.from(body)))}:`;

type Change = (answer: Passing) => Passing | Promise<Passing>;
const status =
  (value: number): Change =>
  (answer) => ({ ...answer, status: value });
const body =
  (change: (body: Buffer) => Buffer | string): Change =>
  (answer) => ({
    ...answer,
    body: Buffer.from(change(answer.body)),
  });
const set =
  (name: string, value: string): Change =>
  (answer) => ({
    ...answer,
    headers: answer.headers.map(([known, old]) => [known, known === name ? value : old]),
  });
const add =
  (name: string, value: string): Change =>
  (answer) => ({
    ...answer,
    headers: [...answer.headers, [name, value]],
  });
const drop =
  (...names: string[]): Change =>
  (answer) => ({
    ...answer,
    headers: answer.headers.filter(([name]) => !names.includes(name)),
  });
const all =
  (...changes: Change[]): Change =>
  async (answer) => {
    let changed = answer;
    for (const change of changes) changed = await change(changed);
    return changed;
  };
const withDigestOf =
  (text: string): Change =>
  async (answer) =>
    all(
      body(() => text),
      set('unencoded-digest', await digestOf(text)),
    )(answer);

/** The error with which a call, or the reading of its answer, ends. */
async function failure(path: string, init?: RequestInit): Promise<unknown> {
  try {
    const response = await client.fetch(server.origin + path, init);
    await response.arrayBuffer();
  } catch (error) {
    return error;
  }
  return null;
}

const unproven = expect.objectContaining({ code: 'answer_unproven', name: 'AnswerUnprovenError' });

describe('an answer that nobody touched', () => {
  it.each(['/rich', '/plain', '/empty', '/error', '/forbidden', '/created', '/redirect', '/none'])(
    'is proven: %s',
    async (path) => {
      const response = await client.fetch(server.origin + path);
      await response.arrayBuffer();
      expect(provenBy(response)).toMatchObject({ body: true });
    },
  );

  it('says who gave it, and what is proven', async () => {
    server.hands = add('x-added', '1');
    const response = await client.fetch(`${server.origin}/rich`);
    const facts = provenBy(response);
    expect(facts?.target).toBe(provingTarget.deviceId);
    expect(facts?.headers.getSetCookie()).toEqual(RICH['set-cookie']);
    expect(facts?.headers.get('etag')).toBe('"v1"');
    expect(facts?.headers.has('x-added')).toBe(false);
    expect(response.headers.get('x-added')).toBe('1');
    expect(await response.json()).toEqual({ amount: 1 });
  });

  it.each(['application/json; charset=utf-8', 'application/json;charset=UTF-8'])(
    'is proven with the charset that a server or proxy adds, and has the type that was signed: %s',
    async (type) => {
      for (const etag of ['"v1"', 'W/"v1"']) {
        server.hands = all(set('content-type', type), set('etag', etag));
        const response = await client.fetch(`${server.origin}/rich`);
        expect(provenBy(response)?.headers.get('content-type')).toBe('application/json');
        expect([response, response.clone()].map(({ headers }) => headers.get('content-type'))).toEqual([
          'application/json',
          'application/json',
        ]);
        expect((await response.blob()).type).toBe('application/json');
      }
    },
  );
});

describe('is answer_unproven:', () => {
  it.each<[string, string, Change]>([
    ['200 in place of 500', '/error', status(200)],
    ['201 in place of 200', '/plain', status(201)],
    ['500 in place of 200', '/plain', status(500)],
    ['200 in place of 403', '/forbidden', status(200)],
    ['200 in place of a redirect', '/redirect', status(200)],
    ['a redirect in place of 200', '/plain', all(status(302), add('location', '/rich'))],
    ['another redirect', '/redirect', status(307)],
    ['a redirect to another place', '/redirect', set('location', '/rich')],
    ['a redirect out of the origin', '/redirect', set('location', 'http://127.0.0.1:1/')],
    ['304 in place of 200', '/plain', status(304)],
    [
      '204 in place of 200',
      '/plain',
      all(
        status(204),
        body(() => ''),
      ),
    ],
    [
      '205 in place of 200',
      '/plain',
      all(
        status(205),
        body(() => ''),
      ),
    ],
    ['206 in place of 200', '/plain', status(206)],
    ['206 that nobody asked for', '/part', (answer) => answer],
    ...Object.keys(RICH).flatMap((name): [string, string, Change][] => [
      [`another ${name}`, '/rich', set(name, 'other')],
      [`no ${name}`, '/rich', drop(name)],
    ]),
    ['another location of what was created', '/created', set('location', '/other')],
    ...['location', 'content-range', 'content-type', 'etag', 'link', 'set-cookie', 'age'].map(
      (name): [string, string, Change] => [`${name} added`, '/plain', add(name, '1')],
    ),
    ['retry-after added', '/plain', add('retry-after', '9')],
    ['www-authenticate added', '/plain', add('www-authenticate', 'AuthMesh error="unauthorized"')],
    ['a field of amesh added', '/plain', add('authmesh-registration', 'x')],
    ['one more cookie', '/rich', add('set-cookie', 'd=3')],
    [
      'cookies in another order',
      '/rich',
      (answer) => ({ ...answer, headers: [...answer.headers].reverse() }),
    ],
    ['another strong etag, made weak', '/rich', set('etag', 'W/"v2"')],
    ['another charset added', '/rich', set('content-type', 'application/json; charset=utf-16')],
    ['a second charset added', '/text', set('content-type', 'text/plain;charset=utf-7; charset=utf-8')],
    ['UTF-8 in place of its charset', '/text', set('content-type', 'text/plain; charset=utf-8')],
    ['another type, with a charset added', '/rich', set('content-type', 'text/html; charset=utf-8')],
    ['a type of a charset alone', '/plain', add('content-type', '; charset=utf-8')],
    ['one byte changed', '/rich', body((was) => was.toString().replace('1', '9'))],
    ['a longer body', '/rich', body((was) => `${was} `)],
    ['a shorter body', '/rich', body((was) => was.subarray(0, -1))],
    ['no body', '/rich', body(() => '')],
    ['a body after an empty one', '/empty', body(() => 'x')],
    ['another body with its digest', '/rich', withDigestOf('{"amount":9}')],
    ['no digest', '/rich', drop('unencoded-digest')],
    ['a stream in place of a body', '/rich', all(drop('unencoded-digest'), add('authmesh-body', 'unsigned'))],
    ['two digests', '/rich', async (answer) => add('unencoded-digest', await digestOf('x'))(answer)],
    ['a body after a proven head without one', '/events', (answer) => answer],
    ['another body of a stream', '/events', body(() => 'data: 9\n\n')],
    ['a stream that says nothing of it', '/events', drop('authmesh-body')],
    [
      'a stream with a digest',
      '/events',
      async (answer) => add('unencoded-digest', await digestOf('x'))(answer),
    ],
    ['no signature', '/plain', drop('signature', 'signature-input')],
    ['no signature input', '/plain', drop('signature-input')],
    [
      'the signature of another label',
      '/plain',
      (answer) => ({
        ...answer,
        headers: answer.headers.map(([name, value]) => [name, value.replace(/^amesh=/, 'other=')]),
      }),
    ],
    [
      'the signature twice',
      '/plain',
      (answer) => ({
        ...answer,
        headers: answer.headers.map(([name, value]) => [
          name,
          /^signature/.test(name) ? `${value}, ${value}` : value,
        ]),
      }),
    ],
    ['a signature of zeros', '/plain', set('signature', `amesh=:${toBase64(new Uint8Array(64))}:`)],
    [
      'a later time',
      '/plain',
      (answer) => ({
        ...answer,
        headers: answer.headers.map(([name, value]) => [
          name,
          value.replace(/created=\d+/, 'created=4000000000'),
        ]),
      }),
    ],
    [
      'less covered',
      '/rich',
      (answer) => ({
        ...answer,
        headers: answer.headers.map(([name, value]) => [name, value.replace(' "etag"', '')]),
      }),
    ],
    ['an answer key without a statement', '/plain', add('authmesh-key', 'eyJ')],
  ])('%s', async (_name, path, change) => {
    server.hands = change;
    expect(await failure(path)).toEqual(unproven);
  });
});

/** Passes a request on to the server, around the hands of the proxy. */
async function honestly(call: () => Promise<unknown>): Promise<void> {
  const { hands } = server;
  server.hands = (answer) => answer;
  await call();
  server.hands = hands;
}

describe('is answer_unproven, since it is the answer to another request:', () => {
  /** What the server answered, in order. */
  const answers: Passing[] = [];
  const record = (answer: Passing) => {
    answers.push(answer);
    return answer;
  };
  beforeEach(() => {
    answers.length = 0;
  });

  it('an earlier answer to the same call', async () => {
    server.hands = record;
    await client.fetch(`${server.origin}/plain`);
    server.hands = () => answers[0] as Passing;
    expect(await failure('/plain')).toEqual(unproven);
  });

  it('an answer to a call at the same moment', async () => {
    server.hands = async (answer) => {
      record(answer);
      while (answers.length < 2) await new Promise((resolve) => setImmediate(resolve));
      return answers.find((other) => other !== answer) as Passing;
    };
    expect(await Promise.all([failure('/plain'), failure('/plain')])).toEqual([unproven, unproven]);
  });

  it('an answer to another path, and to another method', async () => {
    server.hands = record;
    await client.fetch(`${server.origin}/plain?a`, { method: 'POST' });
    server.hands = () => answers[0] as Passing;
    expect(await failure('/plain?b', { method: 'POST' })).toEqual(unproven);
    expect(await failure('/plain?a', { method: 'PUT' })).toEqual(unproven);
  });

  it('an answer to the same request with the same nonce, of another caller', async () => {
    const stranger = { ...vectors.devices.stranger, friendlyName: 'other', roles: ['controller'] as const };
    const devices = [...vectorAllowList.devices, stranger].map((device) => ({
      ...device,
      keysSince: undefined,
    }));
    server.use({
      allowList: { deviceId: provingTarget.deviceId, hosts: [server.authority], devices: devices as never },
    });
    await client.fetch(`${server.origin}/plain`);
    server.hands = async (_answer, { headers }) => {
      const nonce = /nonce="([^"]+)"/.exec(headers.authorization as string)?.[1] as string;
      const { request } = await asking(
        { target: '/plain', authority: server.authority },
        { signer: await signerOf('stranger'), nonce, created: Math.floor(Date.now() / 1000) },
      );
      let answer: Passing | undefined;
      await honestly(async () => {
        const response = await fetch(`${server.origin}/plain`, { headers: request.headers });
        expect(response.headers.get('signature')).toMatch(/^amesh=/); // it is proven to the other caller
        answer = { status: 200, headers: [...response.headers], body: Buffer.from(await response.text()) };
      });
      return answer as Passing;
    };
    expect(await failure('/plain')).toEqual(unproven);
  });

  it('an answer of another server that this machine may call', async () => {
    const other = await signerOf('stranger');
    server.use({
      answerSigner: { deviceId: vectors.devices.stranger.deviceId, sign: (message) => other.sign(message) },
    });
    expect(await failure('/plain')).toMatchObject({
      code: 'answer_unproven',
      detail: expect.stringContaining(`it is signed by ${vectors.devices.stranger.deviceId}`),
    });
  });

  it('an answer signed by another key in the name of the target', async () => {
    const other = await signerOf('stranger');
    server.use({
      answerSigner: { deviceId: provingTarget.deviceId, sign: (message) => other.sign(message) },
    });
    expect(await failure('/plain')).toEqual(unproven);
  });

  it('a refusal that somebody got by sending garbage in the name of the caller', async () => {
    const id = vectors.devices.controller.deviceId;
    const garbage = `AuthMesh v="2",id="${id}",ts="${Math.floor(Date.now() / 1000)}",nonce="${'A'.repeat(22)}",sig="${'A'.repeat(86)}"`;
    server.hands = async (_answer, { headers }) => {
      let answer: Passing | undefined;
      await honestly(async () => {
        const ask = headers['accept-signature'] as string;
        const init = { headers: { authorization: garbage, 'accept-signature': ask } };
        const response = await fetch(`${server.origin}/plain`, init);
        answer = {
          status: response.status,
          headers: [...response.headers],
          body: Buffer.from(await response.text()),
        };
      });
      expect(answer?.headers.map(([name]) => name)).not.toContain('signature');
      return answer as Passing;
    };
    expect(await failure('/plain')).toMatchObject({
      code: 'answer_unproven',
      status: 401,
      claims: 'unauthorized',
    });
  });
});

describe('what nobody proved moves nothing:', () => {
  const refusing = (status: number, ...headers: [string, string][]) => {
    server.hands = () => ({ status, headers, body: Buffer.from('{"error":"x"}') });
  };

  it('a forged 401 is not a refusal, and the error says what it would mean', async () => {
    refusing(401, ['www-authenticate', 'AuthMesh error="unauthorized"']);
    const told: ClientRefusal[] = [];
    const told401 = askingClient({ onRefusal: (refusal) => void told.push(refusal) });
    const error = await told401.fetch(`${server.origin}/plain?secret`).catch((thrown) => thrown);
    const origin = server.origin;
    expect(error).toMatchObject({
      code: 'answer_unproven',
      status: 401,
      claims: 'unauthorized',
      detail: `The answer of ${origin}/plain (401 unauthorized) is not proven: it has no signature of amesh. The request may have been carried out.`,
      fix: expect.stringMatching(
        /^If it is genuine: The server did not accept the signature of this device\. .*amesh whoami\.$/,
      ),
    });
    const { status, code, detail, fix } = error;
    expect(told).toEqual([{ code, status, url: `${origin}/plain`, detail, fix }]);
    expect(server.done).toEqual(['']);
  });

  it.each([
    [421, [] as [string, string][], 'wrong_host'],
    [403, [['content-type', 'text/plain']] as [string, string][], undefined],
    [503, [] as [string, string][], undefined],
    [200, [] as [string, string][], undefined],
  ])('a forged %d is not sent again either', async (status, headers, claims) => {
    refusing(status, ...headers);
    const error = await client
      .fetch(server.origin, { method: 'POST', body: 'pay' })
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'answer_unproven', status });
    expect(error.claims).toBe(claims);
    // Node's fetch repeats a request after a 421 by itself, and the server knows the nonce of that one.
    expect(server.done).toEqual(['pay']);
  });

  it.each<[string, Partial<ClientOptions>]>([
    ['an asked target', {}],
    ['a client that does not ask', { answers: 'off' }],
    ['a target that cannot prove', { targetOf: () => ({ ...provingTarget, proves: false }) }],
    ['a target without a key', { targetOf: () => provingTarget.deviceId }],
  ])('after a forged 421 in two parts, nothing is carried out twice: %s', async (_name, options) => {
    server.hands = () => ({ status: 421, headers: [], body: Buffer.alloc(0), stream: inTwo() });
    const response = askingClient(options).fetch(server.origin, { method: 'POST', body: 'pay' });
    await response.then(discardBody, () => {});
    const signatures = server.seen.map(({ headers }) => headers.authorization);
    expect(signatures.length).toBeGreaterThan(1); // Node's fetch has repeated it
    expect(new Set(signatures).size).toBe(1);
    expect(server.done).toEqual(['pay']);
  });

  it('a forged Date', async () => {
    for (const aheadMs of [29_000, 200_000, -200_000, 4_000_000]) {
      const date = new Date(Date.now() + aheadMs).toUTCString();
      refusing(401, ['www-authenticate', 'AuthMesh error="timestamp_out_of_range"'], ['date', date]);
      const told: ClientRefusal[] = [];
      const there = askingClient({ onRefusal: (refusal) => void told.push(refusal) });
      server.seen.length = 0;
      await expect(there.fetch(`${server.origin}/plain`)).rejects.toMatchObject({
        claims: 'timestamp_out_of_range',
      });
      expect(told).toMatchObject([{ code: 'answer_unproven' }]);
      server.hands = (answer) => answer;
      expect((await there.fetch(`${server.origin}/plain`)).status).toBe(200);
      const times = server.seen.map(({ headers }) =>
        Number(/ts="(\d+)"/.exec(headers.authorization as string)?.[1]),
      );
      expect(times).toHaveLength(2);
      for (const time of times) expect(Math.abs(time - Date.now() / 1000)).toBeLessThan(25);
    }
  });

  it('a forged refusal renews a working key no more often than a genuine one', async () => {
    refusing(401, ['www-authenticate', 'AuthMesh error="unauthorized"']);
    const device = await signerOf('controller');
    let signatures = 0;
    const counted = {
      publicKey: device.publicKey,
      sign: (message: Uint8Array) => {
        signatures++;
        return device.sign(message);
      },
    };
    const worker = withWorkingKey(counted);
    const there = askingClient({}, () => worker);
    for (let i = 0; i < 8; i++) await expect(there.fetch(server.origin)).rejects.toEqual(unproven);
    expect(signatures).toBeLessThanOrEqual(2);
  });
});

describe('304', () => {
  beforeEach(() => server.routes.set('/kept', () => ({ status: 304, headers: { etag: '"1"' } })));

  it.each(['if-match', 'if-unmodified-since', 'if-range', 'range'])(
    'is answer_unproven if the request has only %s, which 304 never answers',
    async (name) => {
      expect(await failure('/kept', { headers: { [name]: '"1"' } })).toEqual(unproven);
    },
  );

  it.each(['if-none-match', 'if-modified-since'])('is proven if the request has %s', async (name) => {
    const response = await client.fetch(`${server.origin}/kept`, { headers: { [name]: '"1"' } });
    expect([response.status, provenBy(response)?.body]).toEqual([304, true]);
  });
});
