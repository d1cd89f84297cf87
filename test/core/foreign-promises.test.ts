import { runInNewContext } from 'node:vm';
import {
  type AllowList,
  type CryptoProvider,
  createAllowList,
  InMemoryNonceStore,
  type RequestView,
  type Signer,
  signRequest,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it, vi } from 'vitest';
import { callSafely } from '../../src/core/errors/call-safely';
import { NOW, signed, signerOf, verifierAt } from '../support/core';
import { vectorAllowList } from '../support/vectors';

/** The class of another realm, such as that of a test runner or a sandbox. Libraries have classes of their own, too. */
const Foreign: PromiseConstructor = runInNewContext('Promise');
const later = <T>(value: T) => Foreign.resolve(value) as Promise<T>;
const failing = (error: Error) => Foreign.reject(error) as Promise<never>;

const POST: RequestView = {
  method: 'POST',
  target: '/',
  authority: 'api.example.com',
  headers: { 'content-type': 'text/plain' },
  body: new TextEncoder().encode('a'),
};
const answerOf = async (options: Parameters<typeof verifierAt>[0]) => {
  const verdict = await verifierAt(options).verify(await signed(POST));
  return verdict.ok ? 'ok' : verdict.code;
};

describe('a promise of another class', () => {
  it('is awaited when a nonce store returns it, and its false is a replay', async () => {
    const store = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: NOW - 3600 });
    const nonceStore = { claim: (...args: Parameters<typeof store.claim>) => later(store.claim(...args)) };
    expect(await answerOf({ nonceStore })).toBe('ok');
    expect(await answerOf({ nonceStore: { claim: () => later(false) } })).toBe('replay_detected');
    expect(await answerOf({ nonceStore: { claim: () => failing(new Error('gone')) } })).toBe(
      'nonce_store_unavailable',
    );
  });

  it('is awaited when an allow list returns it', async () => {
    const devices = createAllowList({ ...vectorAllowList, hosts: ['api.example.com'] });
    const from = (current: () => Promise<AllowList>) => answerOf({ allowList: { current } });
    expect(await from(() => later(devices))).toBe('ok');
    expect(await from(() => failing(new Error('gone')))).toBe('allow_list_unavailable');
  });

  it('is awaited when cryptography returns it', async () => {
    const crypto: CryptoProvider = {
      ...nodeCrypto,
      sha256: (data) => later(nodeCrypto.sha256(data) as Uint8Array),
      importPublicKey: (point) => later(nodeCrypto.importPublicKey(point) as never),
    };
    expect(await answerOf({ crypto })).toBe('ok');
    const request = await signed(POST, { crypto });
    expect(request.headers['content-digest']).toMatch(/^sha-256=:[\w+/]{43}=:$/);
  });

  it('is awaited when a signer returns it', async () => {
    const own = await signerOf('controller');
    const signer: Signer = { ...own, sign: (message) => later(own.sign(message) as Uint8Array) };
    const request = await signRequest(POST, { ...signer, requestSigner: () => later(undefined as never) });
    expect(request.headers['authmesh-key']).toBeUndefined();
    expect(request.headers.authorization ?? request.headers.signature).toMatch(/.{60}/);
  });

  it('is listened to when a callback returns it', async () => {
    const told = vi.spyOn(console, 'error').mockImplementation(() => {});
    callSafely(() => failing(new Error('mine')), 'onRefusal');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(told).toHaveBeenCalledWith('amesh: onRefusal threw', expect.objectContaining({ message: 'mine' }));
    told.mockRestore();
  });
});
