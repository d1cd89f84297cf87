import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AmeshError } from '../core/errors';
import { isMissing } from '../trust/file-store';
import type { KeyContext } from './backend';

/** A passphrase and where it came from. */
export interface Passphrase {
  readonly text: string;
  /** `generated`, which needs no stretching; else what the user supplied it by, as it is told. */
  readonly source: 'generated' | 'AUTH_MESH_PASSPHRASE' | 'AMESH_PASSPHRASE_FILE' | typeof CREDENTIAL_SOURCE;
}

export const PASSPHRASE_FILE = '.passphrase';
/** What {@link newPassphrase} makes: anything else was not generated, and would get too few rounds. */
const GENERATED = /^[A-Za-z0-9_-]{43}\s*$/;
/** What openssl, and so Node, takes when it opens a key. */
const MAX_BYTES = 1024;
const CREDENTIAL = 'amesh-passphrase';
const CREDENTIAL_SOURCE = `the systemd credential ${CREDENTIAL}` as const;

/**
 * The passphrase that the user supplies: AUTH_MESH_PASSPHRASE, the file AMESH_PASSPHRASE_FILE, or the systemd
 * credential `amesh-passphrase`, in this order. None of them is ever written to the disk.
 *
 * @returns null where none is supplied
 * @throws AmeshError `passphrase_required` where a file is named that cannot be read, or is empty, or where the
 *   passphrase is longer than 1024 bytes
 */
export async function suppliedPassphrase({ env }: KeyContext): Promise<Passphrase | null> {
  if (env.AUTH_MESH_PASSPHRASE) return supplied(env.AUTH_MESH_PASSPHRASE, 'AUTH_MESH_PASSPHRASE');
  if (env.AMESH_PASSPHRASE_FILE) return readPassphrase(env.AMESH_PASSPHRASE_FILE);
  if (!env.CREDENTIALS_DIRECTORY) return null;
  const path = join(env.CREDENTIALS_DIRECTORY, CREDENTIAL);
  return readFile(path, 'utf8').then(
    (text) => fromFile(text, `the credential ${CREDENTIAL}`, CREDENTIAL_SOURCE),
    (error) => {
      if (isMissing(error)) return null; // a unit may have other credentials only
      throw unreadable(`the credential ${CREDENTIAL}`);
    },
  );
}

/** The passphrase that `init` generated into the folder, where it did. */
export async function generatedPassphrase({ dir }: KeyContext): Promise<Passphrase | null> {
  const text = await readFile(join(dir, PASSPHRASE_FILE), 'utf8').catch((error) => {
    if (isMissing(error)) return null;
    throw unreadable(PASSPHRASE_FILE);
  });
  if (text === null) return null;
  if (!GENERATED.test(text)) throw unreadable(PASSPHRASE_FILE);
  return { text: text.trim(), source: 'generated' };
}

/** 256 random bits in base64url. */
export function newPassphrase(): Passphrase {
  return { text: randomBytes(32).toString('base64url'), source: 'generated' };
}

async function readPassphrase(path: string): Promise<Passphrase> {
  const name = 'the file of AMESH_PASSPHRASE_FILE';
  const text = await readFile(path, 'utf8').catch(() => {
    throw unreadable(name);
  });
  return fromFile(text, name, 'AMESH_PASSPHRASE_FILE');
}

function fromFile(text: string, name: string, source: Passphrase['source']): Passphrase {
  const passphrase = text.replace(/\r?\n$/, ''); // the newline is the editor's, every other character is the user's
  if (passphrase === '') throw unreadable(name);
  return supplied(passphrase, source);
}

function supplied(text: string, source: Passphrase['source']): Passphrase {
  if (Buffer.byteLength(text) <= MAX_BYTES) return { text, source };
  throw new AmeshError('passphrase_required', `The passphrase is longer than ${MAX_BYTES} bytes.`, {
    fix: 'Set a shorter one in AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
  });
}

function unreadable(name: string): AmeshError {
  return new AmeshError('passphrase_required', `The passphrase cannot be read from ${name}.`);
}
