import {
  createAllowList,
  createClient,
  createVerifier,
  signRequest,
  type VerifyOptions,
} from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { vectorAllowList, vectors } from '../support/vectors';

const { publicKey, deviceId } = vectors.devices.controller;

describe('a wrong option is a TypeError where it is given', () => {
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
    ['an onReject that is none', { onReject: 'log' }],
  ])('createVerifier(): %s', (_, options) => {
    expect(() => createVerifier({ allowList: vectorAllowList, ...(options as VerifyOptions) })).toThrow(
      TypeError,
    );
  });

  it.each<[string, object]>([
    ['an unknown name', { bodyLimit: 1 }],
    ['another format', { format: 'jwt' }],
    ['no device id', { targetDeviceId: 'prod-api' }],
    ['a short nonce', { nonce: 'abc' }],
    ['a time in milliseconds with a fraction', { created: 1.5 }],
    ['a limit in text', { maxBodyBytes: '1mb' }],
  ])('signRequest(): %s', async (_, options) => {
    const view = { method: 'GET', target: '/', authority: 'a.example', headers: {} };
    await expect(signRequest(view, await signerOf('controller'), options)).rejects.toThrow(TypeError);
  });

  it.each<[string, object]>([
    ['no signer', {}],
    ['an unknown name', { signer: signerOf, timeout: 1 }],
    ['another format', { signer: signerOf, format: 'jwt' }],
    ['a limit in text', { signer: signerOf, maxBodyBytes: '1mb' }],
  ])('createClient(): %s', (_, options) => {
    expect(() => createClient(options as unknown as Parameters<typeof createClient>[0])).toThrow(TypeError);
  });

  const device = { deviceId, publicKey, friendlyName: 'c', roles: ['target' as const], hosts: ['a.example'] };
  it.each<[string, Parameters<typeof createAllowList>[0]]>([
    ['an id that is none', { deviceId: 'prod-api' }],
    ['a device twice', { devices: [device, device] }],
    [
      'a host of two targets',
      { devices: [device, { ...device, deviceId: 'am_AAAAAAAAAAAAAAAA', hosts: ['A.example:443'] }] },
    ],
    ['a role that is none', { devices: [{ ...device, roles: ['admin' as 'target'] }] }],
    ['a key that is none', { devices: [{ ...device, publicKey: 'AAAA' }] }],
  ])('createAllowList(): %s', (_, init) => {
    expect(() => createAllowList(init)).toThrow(TypeError);
  });

  it('signing what no verifier would accept is one too', async () => {
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
