import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyBackend, KeyContext } from '@authmesh/sdk/admin';
import type { Signer } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { providers } from './providers';

/** What a contract needs of a key backend under test. */
export interface BackendUnderTest {
  readonly context: KeyContext;
  /** In which another key is chosen, for a backend that makes none itself. */
  readonly otherContext?: KeyContext;
  /** Texts that must not be found in a `ref`, such as a passphrase. */
  readonly secrets: readonly string[];
  /** Removes the place. */
  remove(): Promise<void>;
}

/**
 * Every key backend passes this. A key is slow to make and to open, so the tests that only read share one.
 *
 * @param prepare an empty place for keys
 */
export function keyBackendContract(backend: KeyBackend, prepare: () => Promise<BackendUnderTest>): void {
  describe(`${backend.id} as a key backend`, () => {
    let place: BackendUnderTest;
    let context: KeyContext;
    let ref: string;
    let publicKey: Uint8Array;
    let signer: Signer;
    beforeAll(async () => {
      place = await prepare();
      context = place.context;
      ({ ref, publicKey } = await backend.create(context));
    });
    afterAll(() => place?.remove());

    const message = new TextEncoder().encode('what is signed');

    it('says in one line each what it is', async () => {
      expect(backend.id).toMatch(/^[a-z0-9-]+$/);
      expect(await backend.describe(context)).toMatch(/^[A-Z].*\.$/);
    });

    it('can be used here', async () => {
      expect(await backend.probe(context)).toMatchObject({ available: true, hardware: expect.any(Boolean) });
    });

    it('makes a key whose reference is short text without a secret', () => {
      expect(publicKey).toHaveLength(33);
      expect(ref).toMatch(/^[\x21-\x7e]{1,256}$/);
      for (const secret of place.secrets) expect(ref).not.toContain(secret);
    });

    it.each(['', '.', '../x', 'keys/../../x', '/etc/passwd', 'keys/x.pem\0', 'no such thing'])(
      'refuses the reference %j, and removes nothing for it',
      async (ref) => {
        await expect(backend.open(ref, context)).rejects.toMatchObject({ code: 'identity_unreadable' });
        await expect(backend.remove(ref, context)).rejects.toMatchObject({ code: 'identity_unreadable' });
      },
    );

    it('opens a key, also after others were refused', async () => {
      signer = await backend.open(ref, context);
      expect(await backend.probe(context, ref)).toMatchObject({ available: true });
    });

    it.each(providers)('signs what the $id provider verifies', async (provider) => {
      expect(Buffer.from(signer.publicKey)).toEqual(Buffer.from(publicKey));
      const signature = await signer.sign(message);
      expect(signature).toHaveLength(64);
      const key = await provider.importPublicKey(publicKey);
      expect(await key.verify(signature, message)).toBe(true);
      expect(await key.verify(signature, new TextEncoder().encode('something else'))).toBe(false);
    });

    it('signs an empty message and a long one, and leaves them as they are', async () => {
      const key = await providers[0]?.importPublicKey(publicKey);
      for (const length of [0, 1, 64, 100_000]) {
        const before = new Uint8Array(length).fill(7);
        const given = before.slice();
        expect(await key?.verify(await signer.sign(given), before)).toBe(true);
        expect(Buffer.compare(given, before)).toBe(0);
      }
    });

    it('makes 20 signatures at once, all right and all different', async () => {
      const key = await providers[0]?.importPublicKey(publicKey);
      const signatures = await Promise.all(Array.from({ length: 20 }, () => signer.sign(message)));
      for (const signature of signatures) expect(await key?.verify(signature, message)).toBe(true);
      expect(new Set(signatures.map((each) => Buffer.from(each).toString('hex'))).size).toBe(20);
    });

    it('opens a key as often as one likes', async () => {
      const [first, second] = await Promise.all([backend.open(ref, context), backend.open(ref, context)]);
      expect(Buffer.from(first.publicKey)).toEqual(Buffer.from(second.publicKey));
    });

    it('keeps two keys apart', async () => {
      const other = await backend.create(place.otherContext ?? context);
      expect(other.ref).not.toBe(ref);
      expect(Buffer.from(other.publicKey)).not.toEqual(Buffer.from(publicKey));
      await backend.remove(other.ref, context);
      expect((await backend.open(ref, context)).publicKey).toHaveLength(33);
    });

    it.each(['an identity', 'a damaged one'])('removes no key that %s names', async (which) => {
      const path = join(context.dir, 'identity.json');
      const text = JSON.stringify({ key: { backend: backend.id, ref } });
      await writeFile(path, which === 'an identity' ? text : text.slice(0, -2));
      await expect(backend.remove(ref, context)).rejects.toThrow(/is that of this machine/);
      await rm(path);
      expect((await backend.open(ref, context)).publicKey).toHaveLength(33);
    });

    it('does not open what was removed; removing it again is no error', async () => {
      await backend.remove(ref, context);
      await expect(backend.open(ref, context)).rejects.toMatchObject({ code: 'identity_unreadable' });
      expect(await backend.probe(context, ref)).toMatchObject({
        available: false,
        reason: expect.stringContaining('is missing'),
        advice: expect.anything(),
      });
      expect(await backend.probe(context)).toMatchObject({ available: true });
      await backend.remove(ref, context);
    });
  });
}
