import { createServer } from 'node:http';
import type { ExpectedAnswer, RequestView } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { type Listening, listen } from '../support/listen';
import { asking, checked, provingVerifier, type ReceivedAnswer, receive } from '../support/proofs';
import { type ProvingServer, provingKinds } from '../support/proving-servers';
import { vectorAllowList, vectors } from '../support/vectors';

/** What a holder in the middle has: the target, and requests of its own, which the target also answers. */
interface Hands {
  readonly request: RequestView;
  /** Sends a request to the target. */
  ask(request: RequestView): Promise<ReceivedAnswer>;
}

/** Makes another answer of the one that the target gave. */
type Attack = (answer: ReceivedAnswer, hands: Hands) => ReceivedAnswer | Promise<ReceivedAnswer>;

/** All fields of the list, as the handler sets them. */
const FIELDS: Readonly<Record<string, string>> = {
  'content-type': 'text/plain',
  location: '/there',
  'www-authenticate': 'Basic',
  'retry-after': '5',
  etag: '"1"',
  link: '</a>; rel=next',
  'set-cookie': 'a=1',
  'content-range': 'bytes 0-4/5',
  age: '7',
  'authmesh-registration': 'x',
};
const COVERED = ['unencoded-digest', ...Object.keys(FIELDS)];

const having = (answer: ReceivedAnswer, changes: Record<string, string | string[] | undefined>) => ({
  ...answer,
  headers: { ...answer.headers, ...changes },
});
const bytes = (text: string) => Buffer.from(text);
/** The first answer to each kind of server, which the holder keeps. */
let earlier: ReceivedAnswer | undefined;

const attacks: Readonly<Record<string, Attack>> = {
  'another status': (a) => ({ ...a, status: 201 }),
  'a redirect in place of 200': (a) => ({ ...having(a, { location: '/evil' }), status: 302 }),
  '206 that nobody asked for': (a) => ({ ...a, status: 206 }),
  '304 that nobody asked for': (a) => ({ ...a, status: 304, body: bytes('') }),
  'status 204': (a) => ({ ...a, status: 204, body: bytes('') }),
  'another byte in the body': (a) => ({ ...a, body: bytes('hellp') }),
  'a shorter body': (a) => ({ ...a, body: a.body.subarray(0, -1) }),
  'no body': (a) => ({ ...a, body: bytes('') }),
  'a longer body': (a) => ({ ...a, body: Buffer.concat([a.body, bytes('!')]) }),
  'the body as a stream': (a) => having(a, { 'unencoded-digest': undefined, 'authmesh-body': 'unsigned' }),
  'no signature': (a) => having(a, { signature: undefined, 'signature-input': undefined }),
  'no Signature-Input': (a) => having(a, { 'signature-input': undefined }),
  'another signature': (a) => having(a, { signature: `amesh=:${'A'.repeat(86)}==:` }),
  'two signatures': (a) => having(a, { signature: `${a.headers.signature}, ${a.headers.signature}` }),
  'fewer covered fields': (a) =>
    having(a, {
      etag: undefined,
      'signature-input': String(a.headers['signature-input']).replace(' "etag"', ''),
    }),
  'another ID': (a) =>
    having(a, {
      'signature-input': String(a.headers['signature-input']).replace(
        vectors.devices.target.deviceId,
        vectors.devices.stranger.deviceId,
      ),
    }),
  'an answer key of nobody': (a) => having(a, { 'authmesh-key': 'eyJ.e30.AAAA' }),
  'a second cookie': (a) => having(a, { 'set-cookie': ['a=1', 'b=2'] }),
  'the answer to another request': async (_, { ask, request }) =>
    ask((await asking({ method: request.method, target: '/other', authority: request.authority })).request),
  'the answer to another caller with the same nonce': async (_, { ask, request }) => {
    const nonce = /nonce="?([\w-]{22})/.exec(JSON.stringify(request.headers))?.[1] as string;
    const { target, authority } = request;
    return ask((await asking({ target, authority }, { nonce, signer: await signerOf('stranger') })).request);
  },
  'an earlier answer': (a) => earlier ?? a,
  'a refusal that the target did not sign': (_, { ask, request }) => ask(request), // a replay
  ...Object.fromEntries(
    COVERED.flatMap((name) => [
      [`another ${name}`, (a: ReceivedAnswer) => having(a, { [name]: `${a.headers[name]}0` })],
      [`no ${name}`, (a: ReceivedAnswer) => having(a, { [name]: undefined })],
    ]),
  ),
};

/** Attacks on an answer that has fewer fields. */
const additions: Readonly<Record<string, Attack>> = Object.fromEntries(
  Object.entries({ ...FIELDS, 'authmesh-other': '1' }).map(([name, value]) => [
    `a ${name} that the target did not set`,
    (a: ReceivedAnswer) => having(a, { [name]: value }),
  ]),
);

describe.each(provingKinds)('a holder in front of $name', ({ start }) => {
  let target: ProvingServer;
  let holder: Listening;
  let attack: Attack = (answer) => answer;

  beforeAll(async () => {
    const stranger = vectors.devices.stranger;
    const devices = [
      ...vectorAllowList.devices,
      { ...stranger, friendlyName: 'other', roles: ['controller' as const] },
    ];
    const verifier = await provingVerifier({
      allowList: { ...vectorAllowList, hosts: ['api.example.com'], devices },
    });
    target = await start(verifier, (request, response) => {
      if (request.url === '/events') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('data: true\n\n');
        response.end();
        return;
      }
      if (request.url !== '/empty' && request.url !== '/bare')
        for (const [name, value] of Object.entries(FIELDS)) response.setHeader(name, value);
      response.end(request.url === '/empty' ? '' : 'hello');
    });
    holder = await listen(
      createServer(async (incoming, outgoing) => {
        const { method = '', url = '' } = incoming;
        const { host: authority = '', connection: _, ...headers } = incoming.headers;
        const request = { method, target: url, authority, headers: headers as Record<string, string> };
        const ask = (other: RequestView) => target.ask(other);
        const { status, headers: given, body } = await attack(await ask(request), { request, ask });
        for (const [name, value] of Object.entries(given)) {
          if (value !== undefined && !/^(?:content-length|connection|keep-alive|transfer-)/.test(name))
            outgoing.setHeader(name, value);
        }
        outgoing.writeHead(status).end(body);
      }),
    );
  });
  afterAll(async () => {
    await holder.close();
    await target.close();
  });

  async function ask(
    path: string,
    by: Attack,
  ): Promise<{ proof: string; text: string; expected: ExpectedAnswer }> {
    attack = by;
    const { request, expected } = await asking({ target: path });
    return { expected, ...(await checked(await receive(holder.port, request), expected)) };
  }

  it('may pass on answers', async () => {
    const seen = await ask('/', (answer) => {
      earlier = answer;
      return answer;
    });
    expect(seen).toMatchObject({ proof: 'proven', text: 'hello' });
    expect((await ask('/empty', (answer) => answer)).proof).toBe('proven');
    expect((await ask('/bare', (answer) => answer)).proof).toBe('proven');
    expect((await ask('/events', (answer) => answer)).proof).toBe('stream');
  });

  it.each(Object.keys(attacks))('cannot pass off %s', async (name) => {
    const seen = await ask('/', attacks[name] as Attack);
    expect(['proven', 'stream']).not.toContain(seen.proof);
  });

  it.each(Object.keys(additions))('cannot pass off %s', async (name) => {
    expect(['proven', 'stream']).not.toContain((await ask('/bare', additions[name] as Attack)).proof);
  });

  it('cannot add a body to an empty answer, or an end to a stream', async () => {
    const filled = await ask('/empty', (a) => ({ ...a, body: bytes('evil') }));
    expect(filled.proof).toBe('its body does not match its digest');
    const { headers } = await target.ask((await asking({ target: '/bare' })).request);
    const replaced = await ask('/events', (a) => ({
      ...having(a, { 'unencoded-digest': headers['unencoded-digest'] as string, 'authmesh-body': undefined }),
      body: bytes('hello'),
    }));
    expect(['proven', 'stream']).not.toContain(replaced.proof);
    // The body of a stream is never proven, whatever is in it.
    expect((await ask('/events', (a) => ({ ...a, body: bytes('data: false\n\n') }))).proof).toBe('stream');
  });

  it('cannot turn one answer into that of another target', async () => {
    const seen = await ask('/', (answer) => answer);
    expect(seen.proof).toBe('proven');
    attack = (answer) => answer;
    const { request, expected } = await asking();
    const { deviceId } = vectors.devices.stranger;
    const answer = await receive(holder.port, request);
    expect((await checked(answer, { ...expected, deviceId })).proof).toContain('it is signed by');
  });
});
