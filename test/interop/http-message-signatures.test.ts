import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import {
  createClient,
  createVerifier,
  deviceIdOf,
  InMemoryNonceStore,
  toBase64Url,
} from '@authmesh/sdk/core';
import { nodeCrypto, toSigner } from '@authmesh/sdk/crypto/node';
import { verify as verifyExpress } from '@authmesh/sdk/express';
import express from 'express';
import {
  createSigner,
  createVerifier as createTheirVerifier,
  httpbis,
  type SignatureParameters,
} from 'http-message-signatures';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { type Recorded, type Recorder, startRecorder } from '../support/recorder';

// An RFC 9421 library that knows nothing of amesh, on either end of the wire.

let privateKey: KeyObject;
let publicKey: KeyObject;
let deviceId: string;
let server: Listening;
const codes: string[] = [];

beforeAll(async () => {
  ({ privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  const point = toSigner(privateKey).publicKey;
  deviceId = await deviceIdOf(point, nodeCrypto);
  const verifier = createVerifier({
    allowList: {
      devices: [{ deviceId, publicKey: toBase64Url(point), friendlyName: 'theirs', roles: ['controller'] }],
    },
    nonceStore: new InMemoryNonceStore(),
    onRefusal: ({ code }) => void codes.push(code),
  });
  const app = express();
  app.use(verifyExpress({ amesh: { verifier: () => verifier } }));
  app.all('/*path', express.json(), (req, res) => {
    res.json({ from: req.authMesh.friendlyName, target: req.originalUrl, body: req.body ?? null });
  });
  server = await listen(app);
});
afterAll(() => server.close());
beforeEach(() => {
  codes.length = 0;
});

const REQUIRED = ['@method', '@authority', '@path', '@query'];
const OF_BODY = ['content-digest', 'content-type'];

interface Message {
  readonly method?: string;
  readonly target?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly fields?: readonly string[];
  readonly params?: readonly string[];
  readonly values?: SignatureParameters;
  readonly name?: string;
  /** What is sent, where it is not what was signed. */
  readonly sentBody?: string;
  readonly sentTarget?: string;
}

/** Signs by the library, and sends by a plain fetch. */
async function call(message: Message): Promise<{ status: number; body: unknown }> {
  const {
    method = 'GET',
    target = '/orders',
    body,
    name = 'sig',
    params = ['created', 'nonce', 'keyid', 'tag'],
  } = message;
  const { fields = body === undefined ? REQUIRED : [...REQUIRED, ...OF_BODY] } = message;
  const digest = body && `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
  const signed = await httpbis.signMessage(
    {
      key: createSigner(privateKey, 'ecdsa-p256-sha256', deviceId),
      name,
      fields: [...fields],
      params: [...params],
      paramValues: { nonce: randomBytes(16).toString('base64url'), tag: 'amesh', ...message.values },
    },
    {
      method,
      url: server.origin + target,
      headers: {
        host: server.authority,
        ...(digest ? { 'content-digest': digest, 'content-type': 'application/json' } : {}),
        ...message.headers,
      },
    },
  );
  const { host: _host, ...headers } = signed.headers;
  const response = await fetch(server.origin + (message.sentTarget ?? target), {
    method,
    headers: headers as Record<string, string>,
    ...(body === undefined ? {} : { body: message.sentBody ?? body }),
  });
  return { status: response.status, body: await response.json() };
}

describe('a client on the package http-message-signatures', () => {
  it('is accepted by Express: GET, and POST with a body', async () => {
    expect(await call({ target: '/a%2Fb?b&a=%20' })).toEqual({
      status: 200,
      body: { from: 'theirs', target: '/a%2Fb?b&a=%20', body: null },
    });
    expect(await call({ method: 'POST', body: '{"amount":100}' })).toMatchObject({
      status: 200,
      body: { body: { amount: 100 } },
    });
  });

  it.each<[string, Message]>([
    [
      "parameters in the package's own order, with alg and expires",
      { params: ['keyid', 'alg', 'created', 'expires', 'nonce', 'tag'] },
    ],
    ['components in another order', { fields: [...REQUIRED].reverse() }],
    ['further fields', { headers: { 'x-own': 'a, b' }, fields: ['x-own', ...REQUIRED] }],
    [
      'a bearer token of its own',
      { headers: { authorization: 'Bearer abc' }, fields: [...REQUIRED, 'authorization'] },
    ],
    ['any label', { name: 'whatever-1' }],
  ])('may have %s', async (_name, message) => {
    expect(await call(message)).toMatchObject({ status: 200 });
    expect(codes).toEqual([]);
  });

  it.each<[string, Message, string]>([
    ['body', { method: 'POST', body: '{"amount":1}', sentBody: '{"amount":9}' }, 'content_digest_mismatch'],
    ['query', { target: '/orders?a=1', sentTarget: '/orders?a=2' }, 'invalid_signature'],
    ['no query in what is covered', { fields: ['@method', '@authority', '@path'] }, 'component_not_covered'],
    ['no nonce', { params: ['created', 'keyid', 'tag'] }, 'malformed_header'],
    ['a nonce of another length', { values: { nonce: 'abc' } }, 'malformed_header'],
    ['another tag', { values: { tag: 'other' } }, 'missing_header'],
    ['an old signature', { values: { created: new Date(Date.now() - 60_000) } }, 'timestamp_out_of_range'],
  ])('is refused: %s', async (_name, message, code) => {
    const { status } = await call(message);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(codes).toEqual([code]);
  });

  it('replay: is accepted once', async () => {
    const nonce = randomBytes(16).toString('base64url');
    expect(await call({ values: { nonce } })).toMatchObject({ status: 200 });
    expect(await call({ values: { nonce } })).toMatchObject({ status: 401 });
    expect(codes).toEqual(['replay_detected']);
  });
});

describe('what amesh signs with format rfc9421', () => {
  let recorder: Recorder;
  beforeAll(async () => {
    recorder = await startRecorder();
  });
  afterAll(() => recorder.close());

  /** What the package makes of a request as it came off the wire. */
  function theirVerdict({ method, target, authority, headers }: Recorded): Promise<boolean | null> {
    const lines = Object.entries(headers).map(([name, values]) => [name, values.join(', ')]);
    return httpbis.verifyMessage(
      {
        keyLookup: async ({ keyid, tag }) =>
          keyid === deviceId && tag === 'amesh'
            ? {
                id: deviceId,
                algs: ['ecdsa-p256-sha256'],
                verify: createTheirVerifier(publicKey, 'ecdsa-p256-sha256'),
              }
            : null,
        requiredFields: REQUIRED,
        requiredParams: ['created', 'nonce', 'keyid', 'tag'],
        maxAge: 300, // a busy machine takes its time
        tolerance: 30,
      },
      { method, url: `http://${authority}${target}`, headers: Object.fromEntries(lines) },
    );
  }

  it.each<[string, RequestInit]>([
    ['GET', {}],
    [
      'POST with a body',
      { method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' } },
    ],
    ['a bearer token next to it', { headers: { authorization: 'Bearer abc' } }],
  ])('is right for the package: %s', async (_name, init) => {
    const client = createClient({ signer: toSigner(privateKey), format: 'rfc9421' });
    await client.fetch(`${recorder.origin}/a%2Fb?b&a=%20`, init);
    const request = recorder.requests.at(-1) as Recorded;
    expect(await theirVerdict(request)).toBe(true);
    expect(await theirVerdict({ ...request, method: 'DELETE' }).catch(() => false)).not.toBe(true);
    expect(await theirVerdict({ ...request, target: '/a%2Fb?b&a=' }).catch(() => false)).not.toBe(true);
  });
});
