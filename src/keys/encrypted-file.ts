import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { newPrivateKey, toSigner } from '../core/crypto/node';
import type { Signer } from '../core/crypto/provider';
import { AmeshError } from '../core/errors/amesh-error';
import { newToken } from '../storage/files/file-lock';
import { makePrivateFolder, writePrivateFile } from '../storage/files/private-file';
import { ReplacedFiles } from '../storage/files/replaced-files';
import type { KeyBackend, KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { notHere } from './errors/not-here';
import { KeyFiles, lostKey } from './key-files';
import {
  DamagedPassphraseError,
  generatedPassphrase,
  keptPassphrases,
  NEW_IDENTITY,
  NO_BACKUP,
  newPassphrase,
  PASSPHRASE_FILE,
  type Passphrase,
  suppliedBy,
  suppliedPassphrase,
} from './passphrase';
import { openEncryptedPem, roundsOf, toEncryptedPem } from './pkcs8';
import { wipe } from './secrets/secret-bytes';

// OWASP recommends this number for the passphrase of a person. A generated one has 256 random bits, which nobody can guess.
const HUMAN_ROUNDS = 600_000;
export const GENERATED_ROUNDS = 2048;

const files = new KeyFiles('.pem');
const LINE_FEED = Buffer.from('\n');

/**
 * The private key as an encrypted PKCS#8 file. The user supplies its passphrase, or amesh generates one and stores it next to the
 * file.
 */
export const encryptedFile: KeyBackend = Object.freeze({
  id: 'encrypted-file',
  isOutsideProcess: false,
  mayAskPerson: false,

  async describe(context: KeyContext, ref?: string) {
    const supplied = suppliedBy(context);
    const isGenerated = ref === undefined ? supplied === null : await hasGenerated(ref, context);
    const source = supplied ?? 'a passphrase of yours';
    return isGenerated
      ? "Encrypted file; its passphrase was generated and is stored next to it. Anybody who can read this account's files can copy and use the key."
      : `Encrypted file, opened by ${source}, which every command and program needs. Anybody who can read the file and knows the passphrase can copy and use the key.`;
  },

  async probe(context: KeyContext, ref?: string) {
    suppliedBy(context); // reports a wrong variable before anything is created
    try {
      if (ref !== undefined) await openKey(ref, context);
      return { available: true, hardware: false };
    } catch (error) {
      return { ...notHere(error), hardware: false };
    }
  },

  async create(context: KeyContext) {
    const supplied = await suppliedPassphrase(context);
    const { bytes } = supplied ?? (await usablePassphrase(context)) ?? (await writeGenerated(context));
    try {
      const privateKey = newPrivateKey();
      const { publicKey } = toSigner(privateKey);
      const ref = files.refOf(publicKey);
      const pem = await toEncryptedPem(privateKey, bytes, supplied ? HUMAN_ROUNDS : GENERATED_ROUNDS);
      await files.write(ref, pem, context);
      if (supplied !== null) keptPassphrases.keep(context, supplied);
      return { ref, publicKey };
    } finally {
      wipe(bytes);
    }
  },

  async open(ref: string, context: KeyContext) {
    return openKey(ref, context);
  },

  async remove(ref: string, context: KeyContext) {
    await files.remove(ref, context);
    keptPassphrases.forget(context);
  },
} satisfies KeyBackend);

async function openKey(ref: string, context: KeyContext): Promise<Signer> {
  const pem = await files.read(ref, context);
  const passphrase = (await suppliedPassphrase(context)) ?? (await generatedPassphrase(context));
  if (passphrase === null)
    throw roundsOf(pem) === GENERATED_ROUNDS ? lost(context) : new AmeshError(KEY_CODES.passphrase_required);
  try {
    return toSigner(await decrypt(pem, passphrase, context));
  } finally {
    wipe(passphrase.bytes);
  }
}

/**
 * Whether a key was made with a generated passphrase. Other programs may also use so few rounds, but they write no file with one.
 */
async function hasGenerated(ref: string, context: KeyContext): Promise<boolean> {
  const rounds = roundsOf(await files.read(ref, context));
  if (rounds === null) throw notEncrypted();
  return rounds === GENERATED_ROUNDS && existsSync(join(context.dir, PASSPHRASE_FILE));
}

function notEncrypted(): AmeshError {
  return lostKey('The key file is not an encrypted PKCS#8 key with PBES2.');
}

async function decrypt(pem: string, passphrase: Passphrase, context: KeyContext): Promise<KeyObject> {
  if (roundsOf(pem) === null) throw notEncrypted();
  let key: KeyObject;
  try {
    key = await openEncryptedPem(pem, passphrase.bytes);
  } catch {
    if (passphrase.source === 'generated') {
      throw new AmeshError(
        KEY_CODES.passphrase_wrong,
        `${PASSPHRASE_FILE} does not open the private key next to it.`,
        { fix: `Restore the two files that belong together. ${NO_BACKUP}`, command: NEW_IDENTITY },
      );
    }
    if ((await generatedPassphrase(context).catch(() => null)) === null)
      throw new AmeshError(KEY_CODES.passphrase_wrong);
    throw new AmeshError(
      KEY_CODES.passphrase_wrong,
      `The passphrase of this key was generated and is in ${PASSPHRASE_FILE}, but another one was supplied and used instead.`,
      { fix: 'Unset AUTH_MESH_PASSPHRASE and AMESH_PASSPHRASE_FILE, or remove the credential.' },
    );
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw lostKey('The key file does not contain a P-256 key.');
  }
  return key;
}

function lost({ dir }: KeyContext): AmeshError {
  return new AmeshError(
    KEY_CODES.passphrase_required,
    `The passphrase of the private key was generated, but its file is missing: ${join(dir, PASSPHRASE_FILE)}.`,
    { fix: `Nothing was changed. Restore it from a backup. ${NO_BACKUP}`, command: NEW_IDENTITY },
  );
}

/** A damaged passphrase opens nothing, and must not prevent the creation of the next key. */
async function usablePassphrase(context: KeyContext): Promise<Passphrase | null> {
  return generatedPassphrase(context).catch((error) => {
    if (context.isForced && error instanceof DamagedPassphraseError) return null;
    throw error;
  });
}

async function writeGenerated({ dir }: KeyContext): Promise<Passphrase> {
  const passphrase = newPassphrase();
  const aside = new ReplacedFiles(dir); // a person may be able to repair the file
  await aside.keep([PASSPHRASE_FILE]);
  await aside.clear(PASSPHRASE_FILE);
  const path = join(dir, PASSPHRASE_FILE);
  const written = `${path}.${newToken()}.tmp`;
  await makePrivateFolder(dir);
  // Written in one step: after a kill, the next key would otherwise be encrypted with an incomplete passphrase.
  await writePrivateFile(written, Buffer.concat([passphrase.bytes, LINE_FEED]), 0o400);
  await rename(written, path);
  return passphrase;
}
