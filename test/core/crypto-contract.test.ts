import { generateKeyPairSync } from 'node:crypto';
import { fromBase64Url, toBase64Url } from '@authmesh/sdk/core';
import { toSigner as toNodeSigner } from '@authmesh/sdk/crypto/node';
import { toSigner as toWebSigner } from '@authmesh/sdk/crypto/web';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromDer, toDer } from '../../src/core/crypto/der';
import { toPoint } from '../../src/core/crypto/points';
import { providers } from '../support/providers';
import { vectors } from '../support/vectors';

const { controller, target } = vectors.devices;
const message = new TextEncoder().encode('a message of any length');
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const point = (text: string) => fromBase64Url(text) as Uint8Array;
const hex = (value: bigint) => value.toString(16).padStart(64, '0');

/** The other of the two signatures that are equally right: s and n - s. */
function withOtherS(signature: Uint8Array): Uint8Array {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32)).toString('hex')}`);
  return Buffer.from(Buffer.from(signature.subarray(0, 32)).toString('hex') + hex(ORDER - s), 'hex');
}

describe.each(providers)('the $id provider', (crypto) => {
  it('hashes as FIPS 180-4 says', async () => {
    const digest = await crypto.sha256(new TextEncoder().encode('abc'));
    expect(Buffer.from(digest).toString('hex')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
    expect(await crypto.sha256(new Uint8Array())).toHaveLength(32);
  });

  it('gives as many random bytes as asked for', () => {
    expect(crypto.randomBytes(16)).toHaveLength(16);
    expect(toBase64Url(crypto.randomBytes(16))).not.toBe(toBase64Url(crypto.randomBytes(16)));
  });

  it.each(providers)('makes signatures that the $id provider verifies', async (other) => {
    const signer = await crypto.importPrivateKey(controller.privateKeyJwk);
    expect(toBase64Url(signer.publicKey)).toBe(controller.publicKey);
    const signature = await signer.sign(message);
    expect(signature).toHaveLength(64);
    const key = await other.importPublicKey(signer.publicKey);
    expect(await key.verify(signature, message)).toBe(true);
    expect(await key.verify(signature, message.subarray(1))).toBe(false);
    const stranger = await other.importPublicKey(point(target.publicKey));
    expect(await stranger.verify(signature, message)).toBe(false);
  });

  it('accepts high and low s alike, since hardware makes both', async () => {
    const signer = await crypto.importPrivateKey(controller.privateKeyJwk);
    const key = await crypto.importPublicKey(signer.publicKey);
    const signature = await signer.sign(message);
    expect(await key.verify(signature, message)).toBe(true);
    expect(await key.verify(withOtherS(signature), message)).toBe(true);
  });

  it('refuses r or s of 0 and of the order of the curve, without throwing', async () => {
    const key = await crypto.importPublicKey(point(controller.publicKey));
    const signature = await (await crypto.importPrivateKey(controller.privateKeyJwk)).sign(message);
    for (const bad of ['00'.repeat(32), hex(ORDER), 'ff'.repeat(32)]) {
      const wrong = Buffer.from(bad, 'hex');
      expect(await key.verify(Buffer.concat([wrong, signature.subarray(32)]), message)).toBe(false);
      expect(await key.verify(Buffer.concat([signature.subarray(0, 32), wrong]), message)).toBe(false);
      expect(await key.verify(Buffer.concat([wrong, wrong]), message)).toBe(false);
    }
  });

  it('accepts r‖s only: no DER, no other length', async () => {
    const key = await crypto.importPublicKey(point(controller.publicKey));
    const signature = await (await crypto.importPrivateKey(controller.privateKeyJwk)).sign(message);
    expect(await key.verify(toDer(signature), message)).toBe(false);
    for (const length of [0, 63, 65, 128])
      expect(await key.verify(new Uint8Array(length), message)).toBe(false);
  });

  it.each([
    ['of 32 bytes', new Uint8Array(32)],
    ['uncompressed', Uint8Array.of(4, ...new Uint8Array(64))],
    ['with a wrong first byte', Uint8Array.of(5, ...point(controller.publicKey).subarray(1))],
    ['not on the curve', Uint8Array.of(2, ...new Uint8Array(31), 7)],
    ['beyond the field', Uint8Array.of(2, ...new Uint8Array(32).fill(0xff))],
    ['at infinity', new Uint8Array(33)],
  ])('refuses a public key %s', async (_, bytes) => {
    await expect(async () => crypto.importPublicKey(bytes)).rejects.toThrow(TypeError);
  });

  it('refuses a private key whose public part belongs to another', async () => {
    const { x, y } = target.privateKeyJwk;
    await expect(async () => crypto.importPrivateKey({ ...controller.privateKeyJwk, x, y })).rejects.toThrow(
      TypeError,
    );
  });

  it.each([
    ['another curve', { crv: 'P-384' }],
    ['another type', { kty: 'OKP' }],
    ['a short d', { d: 'AAAA' }],
    ['a d of zero', { d: 'A'.repeat(43) }],
    ['a short x', { x: 'AAAA' }],
  ])('refuses a private key with %s', async (_, change) => {
    const jwk = { ...controller.privateKeyJwk, ...change } as typeof controller.privateKeyJwk;
    await expect(async () => crypto.importPrivateKey(jwk)).rejects.toThrow(TypeError);
  });

  it('generates keys that it can import', async () => {
    const jwk = await crypto.generatePrivateKey();
    const signer = await crypto.importPrivateKey(jwk);
    const key = await crypto.importPublicKey(signer.publicKey);
    expect(await key.verify(await signer.sign(message), message)).toBe(true);
    expect((await crypto.generatePrivateKey()).d).not.toBe(jwk.d);
  });

  it('generates signers, if it can, without a string of their keys', async () => {
    const made = await crypto.generateSigner?.();
    if (made === undefined) return expect(crypto.id).toBe('noble');
    const { signer, x, y } = made;
    expect(Buffer.from(signer.publicKey)).toEqual(Buffer.from(toPoint({ x, y })));
    const key = await crypto.importPublicKey(signer.publicKey);
    expect(await key.verify(await signer.sign(message), message)).toBe(true);
    expect((await crypto.generateSigner?.())?.x).not.toBe(x);
  });

  it('does not depend on the bytes it was given staying the same', async () => {
    const bytes = point(controller.publicKey).slice();
    const key = await crypto.importPublicKey(bytes);
    const signature = await (await crypto.importPrivateKey(controller.privateKeyJwk)).sign(message);
    bytes.fill(0);
    expect(await key.verify(signature, message)).toBe(true);
  });
});

describe('signers over keys of the runtime', () => {
  it('refuses a KeyObject of another curve', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    expect(() => toNodeSigner(privateKey)).toThrow(TypeError);
  });

  it('signs with a non-extractable CryptoKey', async () => {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [
      'sign',
      'verify',
    ]);
    const { x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
    const bytes = Uint8Array.of(
      2 + (((fromBase64Url(y as string) as Uint8Array)[31] as number) % 2),
      ...point(x as string),
    );
    const signer = toWebSigner(pair.privateKey, bytes);
    for (const provider of providers) {
      const key = await provider.importPublicKey(signer.publicKey);
      expect(await key.verify(await signer.sign(message), message)).toBe(true);
    }
    expect(() => toWebSigner(pair.publicKey, bytes)).toThrow(TypeError);
  });
});

describe('DER', () => {
  it('is decoded, whatever zeros r and s begin with', () => {
    const integer = fc
      .tuple(fc.nat(31), fc.uint8Array({ minLength: 32, maxLength: 32 }))
      .map(([zeros, bytes]) => {
        bytes.fill(0, 0, zeros);
        return bytes;
      });
    fc.assert(
      fc.property(integer, integer, (r, s) => {
        const signature = Uint8Array.of(...r, ...s);
        expect(fromDer(toDer(signature))).toEqual(signature);
        // Memory that was used before gave wrong signatures once: every byte has to be written.
        const used = (length: number) => new Uint8Array(length).fill(0xa5);
        expect(toDer(signature, used)).toEqual(toDer(signature));
      }),
    );
  });
});
