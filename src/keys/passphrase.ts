import { randomFillSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { assertVariable, flawOf, readPath } from '../process/environment';
import type { Env } from '../process/home';
import { hideSecret, readSecret } from '../process/secrets';
import { isMissing } from '../storage/files/file-store';
import { readRegularFile } from '../storage/files/regular-file';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { KeptSecrets } from './secrets/kept-secrets';
import {
  credentialIn,
  fileOf,
  fromText,
  isBlank,
  readSecretFile,
  type SecretFile,
  secretBytes,
  wipe,
} from './secrets/secret-bytes';

/** A passphrase and its source. */
export interface Passphrase {
  /** In UTF-8. Overwrite them with `wipe()` after use. */
  readonly bytes: Uint8Array;
  /** `generated`, which needs no stretching, or how the user supplied it, as shown in messages. */
  readonly source: 'generated' | 'AUTH_MESH_PASSPHRASE' | 'AMESH_PASSPHRASE_FILE' | typeof CREDENTIAL_SOURCE;
}

export const PASSPHRASE_FILE = '.passphrase';
/** The form of {@link newPassphrase}. Anything else was not generated, and would be stretched too little. */
const GENERATED_LENGTH = 43;
const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');
/** The longest passphrase that openssl, and so Node, accepts for opening a key. */
const MAX_BYTES = 1024;
const CREDENTIAL = 'amesh-passphrase';
const CREDENTIAL_SOURCE = `the systemd credential ${CREDENTIAL}` as const;

/**
 * How the passphrase is supplied in this environment. Nothing is read, since a pipe can be read only once.
 *
 * @throws TypeError if a variable is empty or obviously wrong, and no other one supplies the passphrase
 */
export function suppliedBy({
  env,
}: Pick<KeyContext, 'env'>): Exclude<Passphrase['source'], 'generated'> | null {
  const { AMESH_PASSPHRASE_FILE: path, CREDENTIALS_DIRECTORY } = env;
  const text = readSecret(env, 'AUTH_MESH_PASSPHRASE');
  if (path) {
    readPath(env, 'AMESH_PASSPHRASE_FILE', 'wrong');
    return 'AMESH_PASSPHRASE_FILE';
  }
  // A systemd unit may have only other credentials.
  if (CREDENTIALS_DIRECTORY && existsSync(join(CREDENTIALS_DIRECTORY, CREDENTIAL))) return CREDENTIAL_SOURCE;
  if (text) {
    assertPassphrase(text);
    return 'AUTH_MESH_PASSPHRASE';
  }
  // If an empty variable were ignored, a passphrase would be generated and stored next to the key.
  if (text === '') assertVariable('AUTH_MESH_PASSPHRASE', flawOf(text));
  if (path === '') assertVariable('AMESH_PASSPHRASE_FILE', flawOf(path));
  return null;
}

/**
 * Checks the variables that supply a passphrase, without reading the file.
 *
 * @throws TypeError for an obviously wrong value
 */
export function assertPassphraseVariables(env: Env): void {
  suppliedBy({ env });
}

/** Quotation marks and spaces are valid in a passphrase. But nobody chooses a line end, or only white space. */
function assertPassphrase(text: string): void {
  if (/[\r\n]$|^\s*$/.test(text)) assertVariable('AUTH_MESH_PASSPHRASE', flawOf(text));
}

/**
 * The passphrase that the user supplies: the file AMESH_PASSPHRASE_FILE, the systemd credential `amesh-passphrase`, or
 * AUTH_MESH_PASSPHRASE, in this order. It is never written to disk. Once read, the variable leaves `process.env`.
 *
 * @returns null if none is supplied
 * @throws AmeshError `passphrase_required` if the file cannot be read, is empty or not UTF-8, or if the passphrase is
 *   longer than 1024 bytes
 */
export async function suppliedPassphrase(context: KeyContext): Promise<Passphrase | null> {
  return keptPassphrases.take(context) ?? readSupplied(context);
}

/** The passphrases of keys that were just made, for the next {@link suppliedPassphrase}. */
export const keptPassphrases = new KeptSecrets<Passphrase>();

async function readSupplied(context: KeyContext): Promise<Passphrase | null> {
  // Copied, so that the value that was checked is the value that is used.
  const { AMESH_PASSPHRASE_FILE, CREDENTIALS_DIRECTORY } = context.env;
  const AUTH_MESH_PASSPHRASE = readSecret(context.env, 'AUTH_MESH_PASSPHRASE');
  const env = { AUTH_MESH_PASSPHRASE, AMESH_PASSPHRASE_FILE, CREDENTIALS_DIRECTORY };
  const source = suppliedBy({ env });
  switch (source) {
    case null:
      return null;
    case 'AUTH_MESH_PASSPHRASE':
      hideSecret(context.env, source);
      return { bytes: checked(fromText(env.AUTH_MESH_PASSPHRASE as string)), source };
    case 'AMESH_PASSPHRASE_FILE':
      return readPassphrase(fileOf(source, env.AMESH_PASSPHRASE_FILE as string), source);
    default:
      return readPassphrase(credentialIn(env.CREDENTIALS_DIRECTORY as string, CREDENTIAL), source);
  }
}

/** The only command that helps after a generated passphrase or a key was lost. */
export const NEW_IDENTITY = ['amesh', 'init', '--name', 'NAME', '--force'];

/** The text before {@link NEW_IDENTITY}. */
export const NO_BACKUP = 'If there is none, the key is lost: create a new identity, and pair again';

/** `passphrase_required`: the file of the generated passphrase is damaged. */
export class DamagedPassphraseError extends AmeshError {
  constructor(path: string) {
    super(KEY_CODES.passphrase_required, `${path}, the file of the generated passphrase, is damaged.`, {
      fix: `Restore it from a backup. ${NO_BACKUP}`,
      command: NEW_IDENTITY,
    });
  }
}

/** The passphrase that `init` generated in the folder, if there is one. */
export async function generatedPassphrase({ dir }: KeyContext): Promise<Passphrase | null> {
  const path = join(dir, PASSPHRASE_FILE);
  const bytes = await readRegularFile(path).catch((error) => {
    if (isMissing(error)) return null;
    if (error.code === 'EISDIR' || error.code === 'ENOTFILE') throw new DamagedPassphraseError(path);
    throw new AmeshError(
      KEY_CODES.passphrase_required,
      `The passphrase cannot be read from ${path} (${error.code}).`,
      {
        fix: 'Only the owner of the file may read it: run this as that user.',
      },
    );
  });
  if (bytes === null) return null;
  const passphrase = bytes.subarray(0, GENERATED_LENGTH);
  const isWhole =
    passphrase.length === GENERATED_LENGTH && passphrase.every((byte) => ALPHABET.includes(byte));
  if (isWhole && isBlank(bytes.subarray(GENERATED_LENGTH))) return { bytes: passphrase, source: 'generated' };
  wipe(bytes);
  throw new DamagedPassphraseError(path);
}

/** More than 256 random bits in base64url. */
export function newPassphrase(): Passphrase {
  const bytes = randomFillSync(secretBytes(GENERATED_LENGTH));
  for (const [i, byte] of bytes.entries()) bytes[i] = ALPHABET[byte % ALPHABET.length] as number;
  return { bytes, source: 'generated' };
}

async function readPassphrase(file: SecretFile, source: Passphrase['source']): Promise<Passphrase> {
  const bytes = await readSecretFile(file.path, MAX_BYTES).catch(() => {
    throw unreadable(file);
  });
  if (isBlank(bytes)) throw unreadable(file, 'it is empty, or blank'); // nobody chooses white space
  return { bytes: checked(bytes, file.fix), source };
}

/** @param fix for a passphrase of a file */
function checked(
  bytes: Uint8Array,
  fix = 'Set a shorter one in AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
): Uint8Array {
  if (bytes.length <= MAX_BYTES) return bytes;
  wipe(bytes);
  throw new AmeshError(KEY_CODES.passphrase_required, `The passphrase is longer than ${MAX_BYTES} bytes.`, {
    fix,
  });
}

function unreadable({ name, fix }: SecretFile, why?: string): AmeshError {
  const reason = why === undefined ? '' : `: ${why}`;
  return new AmeshError(
    KEY_CODES.passphrase_required,
    `The passphrase cannot be read from ${name}${reason}.`,
    { fix },
  );
}
