import { provenBy } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { beforeEach, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/core/encoding';
import { askingClient, type Passing, provingTarget, useProvingServer } from '../support/proving-server';

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

  it('says who gave it, and what is proven of it', async () => {
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
    ['one byte changed', '/rich', body((was) => was.toString().replace('1', '9'))],
    ['a longer body', '/rich', body((was) => `${was} `)],
    ['a shorter body', '/rich', body((was) => was.subarray(0, -1))],
    ['no body', '/rich', body(() => '')],
    ['a body behind an empty one', '/empty', body(() => 'x')],
    ['another body with its digest', '/rich', withDigestOf('{"amount":9}')],
    ['no digest', '/rich', drop('unencoded-digest')],
    ['a stream in place of a body', '/rich', all(drop('unencoded-digest'), add('authmesh-body', 'unsigned'))],
    ['two digests', '/rich', async (answer) => add('unencoded-digest', await digestOf('x'))(answer)],
    ['a body behind a proven head without one', '/events', (answer) => answer],
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
