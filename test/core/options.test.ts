import { createRelay } from '@authmesh/relay';
import { createAmesh } from '@authmesh/sdk';
import {
  createAllowList,
  createClient,
  createVerifier,
  InMemoryNonceStore,
  signRequest,
  type VerifyOptions,
} from '@authmesh/sdk/core';
import { verify as verifyOfFastify } from '@authmesh/sdk/fastify';
import { verify as verifyOfHono } from '@authmesh/sdk/hono';
import { RedisNonceStore } from '@authmesh/sdk/redis';
import { createServerVerifier, withAmesh } from '@authmesh/sdk/workers';
import { describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { vectorAllowList, vectors } from '../support/vectors';

const { publicKey, deviceId } = vectors.devices.controller;

describe('a wrong option is a TypeError at the call that gets it', () => {
  it.each<[string, object]>([
    ['an unknown name', { clockSkew: 30 }],
    ['a skew of zero', { clockSkewSeconds: 0 }],
    ['a skew of NaN', { clockSkewSeconds: Number.NaN }],
    ['a skew of an hour', { clockSkewSeconds: 3600 }],
    ['a skew in text', { clockSkewSeconds: '30s' }],
    ['a window shorter than twice the skew', { nonceWindowSeconds: 59 }],
    ['a window shorter than twice a longer skew', { clockSkewSeconds: 60, nonceWindowSeconds: 60 }],
    ['a limit below zero', { maxBodyBytes: -1 }],
    ['a limit in text', { maxBodyBytes: '1mb' }],
    ['a nonce store without claim', { nonceStore: {} }],
    ['no hosts at all', { hosts: [] }],
    ['a host with a scheme', { hosts: ['https://api.example.com'] }],
    ['a host with a path', { hosts: ['api.example.com/v1'] }],
    ['a wildcard', { hosts: ['*.example.com'] }],
    ['an authority with userinfo', { authority: 'me@api.example.com' }],
    ['an empty authority', { authority: '' }],
    ['a prefix without slash', { pathPrefix: 'v1' }],
    ['a prefix that ends with one', { pathPrefix: '/v1/' }],
    ['a prefix with a query', { pathPrefix: '/v1?a' }],
    ['trust in text', { trustForwardedHost: 'yes' }],
    ['an onRefusal that is not a function', { onRefusal: 'log' }],
    ['a skew in text that looks like a number', { clockSkewSeconds: '30' }],
    ['a skew in an array', { clockSkewSeconds: [30] }],
    ['a window in text that looks like a number', { nonceWindowSeconds: '60' }],
    ['the class of a nonce store', { nonceStore: InMemoryNonceStore }],
    ['a promise of a nonce store', { nonceStore: Promise.resolve(new InMemoryNonceStore()) }],
    ['a Set of hosts', { hosts: new Set(['a.example']) }],
    ['a URL for a host', { hosts: [new URL('https://a.example')] }],
  ])('createVerifier(): %s', (_, options) => {
    expect(() => createVerifier({ allowList: vectorAllowList, ...(options as VerifyOptions) })).toThrow(
      TypeError,
    );
  });

  it.each<[string, object]>([
    ['an unknown name', { bodyLimit: 1 }],
    ['another format', { format: 'jwt' }],
    ['no device ID', { targetDeviceId: 'prod-api' }],
    ['a short nonce', { nonce: 'abc' }],
    ['a time in milliseconds with a fraction', { created: 1.5 }],
    ['a limit in text', { maxBufferedBytes: '1mb' }],
  ])('signRequest(): %s', async (_, options) => {
    const view = { method: 'GET', target: '/', authority: 'a.example', headers: {} };
    await expect(signRequest(view, await signerOf('controller'), options)).rejects.toThrow(TypeError);
  });

  it.each<[string, object]>([
    ['no signer', {}],
    ['an unknown name', { signer: signerOf, timeout: 1 }],
    ['another format', { signer: signerOf, format: 'jwt' }],
    ['a limit in text', { signer: signerOf, maxBufferedBytes: '1mb' }],
    ['a promise of a signer', { signer: Promise.resolve(signerOf('controller')) }],
    ['a signer without its public key', { signer: { sign: async () => new Uint8Array(64) } }],
    ['a public key in text', { signer: { sign: async () => new Uint8Array(64), publicKey } }],
    ['a Map of targets', { signer: signerOf, targetOf: new Map() }],
    ['WebCrypto itself', { signer: signerOf, crypto: globalThis.crypto }],
  ])('createClient(): %s', (_, options) => {
    expect(() => createClient(options as unknown as Parameters<typeof createClient>[0])).toThrow(TypeError);
  });

  const device = { deviceId, publicKey, friendlyName: 'c', roles: ['target' as const], hosts: ['a.example'] };
  it.each<[string, Parameters<typeof createAllowList>[0]]>([
    ['an invalid ID', { deviceId: 'prod-api' }],
    ['a device twice', { devices: [device, device] }],
    [
      'a host of two targets',
      { devices: [device, { ...device, deviceId: 'am_AAAAAAAAAAAAAAAA', hosts: ['A.example:443'] }] },
    ],
    ['an unknown role', { devices: [{ ...device, roles: ['admin' as 'target'] }] }],
    ['an invalid key', { devices: [{ ...device, publicKey: 'AAAA' }] }],
    ['a Map of devices', { devices: new Map([[deviceId, device]]) as never }],
    ['a text for devices', { devices: deviceId as never }],
    ['a text for roles', { devices: [{ ...device, roles: 'target' as never }] }],
    ['an end that is a Date', { devices: [{ ...device, expiresAt: new Date() as never }] }],
    ['an end in milliseconds', { devices: [{ ...device, expiresAt: 1_764_000_000_000 }] }],
    ['an end of NaN', { devices: [{ ...device, expiresAt: Number.NaN }] }],
    ['an end in text', { devices: [{ ...device, expiresAt: '2026-01-01' as never }] }],
    ['an invalid scope', { devices: [{ ...device, scopes: ['Orders'] }] }],
    ['a wildcard in the middle of a scope', { devices: [{ ...device, scopes: ['orders:*:read'] }] }],
    ['a text for scopes', { devices: [{ ...device, scopes: 'orders:read' as never }] }],
    ['null for scopes', { devices: [{ ...device, scopes: null as never }] }],
    ['a misspelt member', { device: [device] } as never],
    ['an array of devices', [device] as never],
    ['no device in an array', [] as never],
    ['a Map', new Map([[deviceId, device]]) as never],
    ['a promise', Promise.resolve({ devices: [device] }) as never],
    ['a function', (() => ({ devices: [device] })) as never],
    ['a text', JSON.stringify({ devices: [device] }) as never],
  ])('createAllowList() and allowList: %s', (_, init) => {
    expect(() => createAllowList(init)).toThrow(TypeError);
    expect(() => createVerifier({ allowList: init })).toThrow(TypeError);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a current that is not a function', { current: createAllowList({}) }],
  ])('allowList: %s', (_, allowList) => {
    expect(() => createVerifier({ allowList } as never)).toThrow(TypeError);
  });

  it.each<[string, object]>([
    ['a promise', Promise.resolve({ hosts: ['a.example'] })],
    ['an empty array', []],
    ['an empty Map', new Map()],
    ['a text', 'hosts' as never],
  ])('options that are %s do not count as no options', (_, options) => {
    const given = options as never;
    expect(() => createAmesh(given)).toThrow(TypeError);
    const instance = createAmesh({ dir: '/nonexistent/amesh', env: {} });
    expect(() => instance.verify(given)).toThrow(TypeError);
    expect(() => instance.verifier(given)).toThrow(TypeError);
    expect(() => verifyOfFastify(given)).toThrow(TypeError);
    expect(() => verifyOfHono(given)).toThrow(TypeError);
    expect(() => withAmesh(() => new Response(), given)).toThrow(TypeError);
    expect(() => createServerVerifier(given)).toThrow(TypeError);
    // A function is asked at the first request.
    expect(() => createServerVerifier((() => given) as never, {})).toThrow(TypeError);
  });

  it.each<[string, object]>([
    ['a URL for dir', { dir: new URL('file:///tmp/amesh') }],
    ['no dir', { dir: '' }],
    ['the class of a nonce store', { nonceStore: InMemoryNonceStore }],
    ['a promise of a nonce store', { nonceStore: Promise.resolve(new InMemoryNonceStore()) }],
    ['a function for storage', { storage: () => ({}) }],
    ['a promise of a storage', { storage: Promise.resolve({}) }],
    ['a text for env', { env: 'PATH=/bin' }],
    ['seconds in text', { pollSeconds: '1' }],
    ['seconds of staleness in text', { maxStaleSeconds: '60' }],
  ])('createAmesh(): %s', (_, options) => {
    expect(() => createAmesh(options as never)).toThrow(TypeError);
  });

  it('signing what no verifier would accept is a TypeError, too', async () => {
    const signer = await signerOf('controller');
    for (const view of [
      { method: 'TRACE', target: '/', authority: 'a.example', headers: {} },
      { method: 'GET', target: 'http://a.example/', authority: 'a.example', headers: {} },
      { method: 'GET', target: '/a b', authority: 'a.example', headers: {} },
      { method: 'GET', target: '/', authority: 'a.example/x', headers: {} },
      { method: 'GET', target: '/', authority: 'a.example', headers: { 'content-type': 'é' } },
    ]) {
      await expect(signRequest(view, signer)).rejects.toThrow(TypeError);
    }
  });
});

describe('an option that would have no effect is a TypeError', () => {
  const list = { allowList: '{}', ownerKey: publicKey };
  const instance = () => createAmesh({ dir: '/nonexistent/amesh', env: {} });

  it.each<[string, () => unknown, RegExp]>([
    [
      'pollSeconds without a shared list',
      () => createAmesh({ dir: '/nonexistent/amesh', env: {}, pollSeconds: 5 }).verify(),
      /^pollSeconds needs a shared allow list: set AMESH_STORE_URL, or give storage\.$/,
    ],
    [
      'maxStaleSeconds without a shared list',
      () => createAmesh({ dir: '/nonexistent/amesh', env: {}, maxStaleSeconds: 5 }).verify(),
      /^maxStaleSeconds needs a shared allow list/,
    ],
    [
      'maxStaleSeconds of a text',
      () => createServerVerifier({ ...list, maxStaleSeconds: 5 }),
      /no effect on a text/,
    ],
    [
      'maxStaleSeconds of a text that is bound',
      () =>
        createServerVerifier({ maxStaleSeconds: 5 }, { AMESH_ALLOW_LIST: '{}', AMESH_OWNER_KEY: publicKey }),
      /no effect on a text/,
    ],
    [
      'ownerKey without allowList',
      () => createServerVerifier({ ownerKey: publicKey }),
      /belongs to an allowList/,
    ],
    ['deviceId without allowList', () => verifyOfHono({ deviceId }), /belongs to an allowList/],
    [
      'amesh next to allowList',
      () => verifyOfHono({ ...list, amesh: instance() }),
      /^Give amesh or allowList/,
    ],
    [
      'amesh next to env',
      () => createServerVerifier({ amesh: instance() }, {}),
      /^verify\(\) has no option "amesh"/,
    ],
    [
      'hosts next to authority',
      () => instance().verify({ authority: 'a.example', hosts: ['a.example'] }),
      /^authority/,
    ],
    [
      'trustForwardedHost next to authority',
      () => createVerifier({ allowList: vectorAllowList, authority: 'a.example', trustForwardedHost: true }),
      /^authority replaces hosts/,
    ],
    [
      'a misspelt option of a memory store',
      () => new InMemoryNonceStore({ size: 5 } as never),
      /no option "size"/,
    ],
    ['a number for a memory store', () => new InMemoryNonceStore(5 as never), /takes an options object/],
    [
      'clockSkewSeconds without strictRestart',
      () => new RedisNonceStore({ url: 'redis://127.0.0.1:1', clockSkewSeconds: 5 }),
      /is for strictRestart/,
    ],
    [
      'maxBodyBytes of an instance',
      () => createAmesh({ maxBodyBytes: 5 } as never),
      /verify\(\) has it .*maxBufferedBytes/,
    ],
    ['a Map for a relay', () => createRelay(new Map() as never), /takes an options object/],
    ['a Map of limits', () => createRelay({ limits: new Map() as never }), /takes an options object/],
    [
      'a log of a relay that is not a function',
      () => createRelay({ log: 'stdout' as never }),
      /^log must be a function\.$/,
    ],
  ])('%s', (_, give, message) => {
    expect(give).toThrow(TypeError);
    expect(give).toThrow(message);
  });

  it('expires without an option to use it for', async () => {
    const view = { method: 'GET', target: '/', authority: 'a.example', headers: {} };
    const signer = await signerOf('controller');
    const expires = 2_000_000_000;
    await expect(signRequest(view, signer, { expires })).rejects.toThrow(
      /^expires needs the format "rfc9421"/,
    );
    const withLogin = { ...view, headers: { authorization: 'Bearer a' } }; // which is signed in the other form
    expect(await signRequest(withLogin, signer, { expires })).toHaveProperty('headers.signature');
    expect(await signRequest(view, signer, { expires, format: 'rfc9421' })).toHaveProperty(
      'headers.signature',
    );
  });

  it('but hosts of an instance, or of its environment, apply to its other verify()', () => {
    const hosts = ['b.example'];
    expect(
      createAmesh({ dir: '/nonexistent/amesh', env: {}, hosts }).verify({ authority: 'a.example' }),
    ).toBeTypeOf('function');
    const env = { AMESH_HOSTS: 'b.example' };
    expect(createAmesh({ dir: '/nonexistent/amesh', env }).verify({ authority: 'a.example' })).toBeTypeOf(
      'function',
    );
    expect(createServerVerifier({ ...list, authority: 'a.example' }, env)).toHaveProperty('verify');
  });
});

describe('createServerVerifier() with env, on Node', () => {
  it('reads no folder, and takes what the options leave out from env', () => {
    expect(() => createServerVerifier({}, {})).toThrow('There is no allow list');
    expect(() => createServerVerifier({ allowList: '{}' }, {})).toThrow('There is no ownerKey');
    const env = { AMESH_ALLOW_LIST: '{}', AMESH_OWNER_KEY: publicKey };
    expect(createServerVerifier({}, env)).toHaveProperty('verify');
    expect(createServerVerifier({ ownerKey: publicKey }, { AMESH_ALLOW_LIST: '{}' })).toHaveProperty(
      'verify',
    );
  });
});

describe('an allowList', () => {
  const devices = [{ deviceId, publicKey, friendlyName: 'c', roles: ['controller' as const] }];
  const view = { method: 'GET', target: '/', authority: 'a.example', headers: {} };
  const verdictBy = async (allowList: Parameters<typeof createVerifier>[0]['allowList']) => {
    const verifier = createVerifier({ allowList });
    const verdict = await verifier.verify(await signRequest(view, await signerOf('controller')));
    return verdict.ok ? verdict.caller.deviceId : verdict.code;
  };

  it.each<[string, Parameters<typeof createVerifier>[0]['allowList']]>([
    ['of values', { hosts: ['a.example'], devices }],
    ['of values without a prototype', Object.assign(Object.create(null), { hosts: 'a.example', devices })],
    ['that createAllowList() has made', createAllowList({ hosts: ['a.example'], devices })],
    [
      'that createAllowList() has made of one that it has made',
      createAllowList(createAllowList({ hosts: ['a.example'], devices })),
    ],
    ['of a source', { current: () => createAllowList({ hosts: ['a.example'], devices }) }],
  ])('%s knows its devices', async (_, allowList) => {
    expect(await verdictBy(allowList)).toBe(deviceId);
  });

  it.each([Date, () => {}, () => new Date().toISOString()])(
    'accepts nobody if its clock gives no number',
    async (now) => {
      const options = {
        allowList: { hosts: ['a.example'], devices },
        now,
        nonceStore: new InMemoryNonceStore(),
      };
      const request = await signRequest(view, await signerOf('controller'), { created: 1_500_000_000 });
      expect(await createVerifier(options as never).verify(request)).toMatchObject({
        code: 'timestamp_out_of_range',
      });
    },
  );

  it.each<[string, () => unknown]>([
    ['an array of devices', () => devices],
    ['the values of a list', () => ({ hosts: ['a.example'], devices })],
    ['a promise of values', async () => ({ hosts: ['a.example'], devices })],
    ['nothing', () => undefined],
  ])('of a source that gives %s accepts nobody', async (_, current) => {
    await expect(verdictBy({ current } as never)).rejects.toThrow(TypeError);
  });
});
