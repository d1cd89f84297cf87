import type { KeyObject } from 'node:crypto';
import { newPrivateKey, toSigner } from '../core/crypto/node';
import type { Signer } from '../core/crypto/provider';
import { AmeshError } from '../core/errors/amesh-error';
import type { KeyContext } from './backend';
import { GENERATED_ROUNDS } from './encrypted-file';
import { KEY_CODES } from './errors/codes';
import { notHere } from './errors/not-here';
import { KeyFiles, lostKey } from './key-files';
import { openKeychain } from './keychain/store';
import type { KeyMethods } from './late-backend';
import { newPassphrase } from './passphrase';
import { openEncryptedPem, roundsOf, toEncryptedPem } from './pkcs8';
import { wipe } from './secrets/secret-bytes';

const files = new KeyFiles('.keychain.pem');

/**
 * The private key as an encrypted PKCS#8 file, whose passphrase is generated and stored in the keychain of this user: macOS
 * Keychain, Windows Credential Manager, or the Secret Service of Linux.
 *
 * @see docs/decisions/044-keychain.md
 */
export const keychain: KeyMethods = Object.freeze({
  async describe() {
    return 'Encrypted file, opened by the keychain of this user: other users and backups cannot copy the key. Any program of this user can copy and use it while the keychain is unlocked.';
  },

  async probe(context: KeyContext, ref?: string) {
    try {
      if (ref === undefined) await openKeychain();
      else await openKey(ref, context);
      return { available: true, hardware: false };
    } catch (error) {
      return { ...notHere(error), hardware: false };
    }
  },

  async create(context: KeyContext) {
    const store = await openKeychain();
    const privateKey = newPrivateKey();
    const { publicKey } = toSigner(privateKey);
    const ref = files.refOf(publicKey);
    const { bytes } = newPassphrase();
    const pem = await toEncryptedPem(privateKey, bytes, GENERATED_ROUNDS);
    await store.write(ref, bytes).finally(() => wipe(bytes)); // first: without it, the key file is worthless
    try {
      await files.write(ref, pem, context);
    } catch (error) {
      await store.remove(ref).catch(() => {});
      throw error;
    }
    return { ref, publicKey };
  },

  async open(ref: string, context: KeyContext) {
    return openKey(ref, context);
  },

  /** Without its file a passphrase is worthless, so a key can be removed even if the keychain is locked. */
  async remove(ref: string, context: KeyContext) {
    await files.remove(ref, context);
    await openKeychain()
      .then((store) => store.remove(ref))
      .catch(() => {});
  },
} satisfies KeyMethods);

async function openKey(ref: string, context: KeyContext): Promise<Signer> {
  const pem = await files.read(ref, context);
  const store = await openKeychain();
  const passphrase = await store.read(ref);
  if (passphrase === null)
    throw new AmeshError(
      KEY_CODES.key_lost,
      'The keychain of this user has no passphrase for the private key: the folder comes from another user or machine, or the keychain was emptied.',
      {
        fix: 'Use the folder as the user who made the key, or restore the keychain. If neither is possible and you made a second key (amesh init --next), take the list over: see docs/keys.md. Otherwise create a new identity, and pair again',
        command: KEY_CODES.key_lost.command,
      },
    );
  try {
    return toSigner(await decrypt(pem, passphrase));
  } finally {
    wipe(passphrase);
  }
}

async function decrypt(pem: string, passphrase: Uint8Array): Promise<KeyObject> {
  // An unencrypted key would open with any passphrase, and somebody else may have put it there.
  if (roundsOf(pem) === null) throw lostKey('The key file is not an encrypted PKCS#8 key with PBES2.');
  let key: KeyObject;
  try {
    key = await openEncryptedPem(pem, passphrase);
  } catch {
    throw lostKey('The passphrase in the keychain does not open the private key.');
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw lostKey('The key file does not contain a P-256 key.');
  return key;
}
