import { createHash } from 'node:crypto';
import type { Signer } from '../../core/crypto/provider';
import { isAmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { type Explain, explained } from '../slow/queue-signer';
import {
  createKey,
  createPrimary,
  flush,
  HIERARCHY,
  loadKey,
  readPublic,
  STORAGE_ROOT_HANDLE,
  signDigest,
} from './commands';
import type { TpmConnection } from './connection';
import type { KeyFile } from './key-file';
import { SIGNING_KEY, SIGNING_KEY_WITH_PIN, STORAGE_PRIMARY } from './public-area';
import { RC, ResponseError } from './response-error';
import type { Tpm } from './tpm';

/** Persistent handles begin with this byte. */
const PERSISTENT = 0x81;

/** After so many signatures in a row, other programs get their turn: a slow TPM takes 10 s for them. */
const MAX_BATCH = 16;

/** Makes a key; an empty PIN means that there is none. The TPM keeps nothing of it. */
export async function makeKey(tpm: TpmConnection, pin: Uint8Array): Promise<KeyFile> {
  const isWithoutPin = pin.length === 0;
  const template = isWithoutPin ? SIGNING_KEY : SIGNING_KEY_WITH_PIN;
  const parent = await findParent(tpm);
  const key = await withParent(tpm, parent, (handle) => createKey(tpm, handle, template, pin));
  return { ...key, parent, isWithoutPin };
}

/** Checks that the TPM accepts a key, by loading it. */
export async function checkKey(tpm: TpmConnection, key: KeyFile): Promise<void> {
  await withKey(tpm, key, async () => {});
}

/**
 * A signer with a key of the TPM. The key stays loaded for up to 16 signatures that are wanted at the same time. Then it is
 * flushed, and the connection is closed.
 */
export class TpmSigner implements Signer {
  readonly #waiting: Wanted[] = [];
  #isSigning = false;
  /** The error for a wrong PIN, which is not tried again: the TPM counts each attempt, and would lock itself for all programs. */
  #wrongPin: Error | undefined;

  /**
   * @param publicKey the compressed point, 33 bytes
   * @param pin empty if the key has none
   * @param explain turns an error into one that says what a person can do about it
   */
  constructor(
    private readonly tpm: Tpm,
    private readonly key: KeyFile,
    readonly publicKey: Uint8Array,
    private readonly pin: Uint8Array,
    private readonly explain: Explain,
  ) {}

  sign(message: Uint8Array): Promise<Uint8Array> {
    const digest = new Uint8Array(createHash('sha256').update(message).digest());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ digest, resolve, reject });
      void this.#signAll();
    });
  }

  async #signAll(): Promise<void> {
    if (this.#isSigning) return;
    this.#isSigning = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      await this.#signBatch(batch).catch(async (error) => {
        const failed = [...batch, ...this.#waiting.splice(0)];
        const reason = await this.#reasonFor(error);
        for (const { reject } of failed) reject(reason); // messages that were signed ignore this
      });
    }
    this.#isSigning = false;
  }

  async #signBatch(batch: readonly Wanted[]): Promise<void> {
    if (this.#wrongPin !== undefined) throw this.#wrongPin;
    await this.tpm.run((tpm) =>
      withKey(tpm, this.key, async (handle) => {
        for (const { digest, resolve } of batch) resolve(await signDigest(tpm, handle, digest, this.pin));
      }),
    );
  }

  async #reasonFor(error: unknown): Promise<Error> {
    const reason = await explained(error, this.explain);
    if (isAmeshError(reason) && reason.code === KEY_CODES.pin_wrong.code) this.#wrongPin = reason;
    return reason;
  }
}

interface Wanted {
  readonly digest: Uint8Array;
  resolve(signature: Uint8Array): void;
  reject(error: Error): void;
}

/**
 * A text that names this TPM, and stays the same when its owner hierarchy is cleared: 43 base64url characters.
 *
 * @throws ResponseError if the endorsement hierarchy has a password
 */
export async function fingerprintOf(tpm: TpmConnection): Promise<string> {
  const { handle, publicArea } = await createPrimary(tpm, HIERARCHY.endorsement, STORAGE_PRIMARY);
  await flush(tpm, handle);
  return createHash('sha256').update(publicArea).digest('base64url');
}

/** The owner hierarchy may have a password. Then the operating system may have stored a storage root key. */
async function findParent(tpm: TpmConnection): Promise<number> {
  try {
    const { handle } = await createPrimary(tpm, HIERARCHY.owner, STORAGE_PRIMARY);
    await flush(tpm, handle);
    return HIERARCHY.owner;
  } catch (error) {
    if (!isWrongPassword(error)) throw error;
    await readPublic(tpm, STORAGE_ROOT_HANDLE).catch(() => {
      throw error;
    });
    return STORAGE_ROOT_HANDLE;
  }
}

export function isWrongPassword(error: unknown): boolean {
  return error instanceof ResponseError && (error.code === RC.badAuth || error.code === RC.authFail);
}

/** Loads a key, and always flushes it. Its parent is flushed first: a TPM has room for three objects. */
async function withKey<T>(
  tpm: TpmConnection,
  key: KeyFile,
  work: (handle: number) => Promise<T>,
): Promise<T> {
  const handle = await withParent(tpm, key.parent, (parent) => loadKey(tpm, parent, key));
  return flushAfter(tpm, handle, () => work(handle));
}

async function withParent<T>(
  tpm: TpmConnection,
  parent: number,
  work: (handle: number) => Promise<T>,
): Promise<T> {
  if (parent >>> 24 === PERSISTENT) return work(parent);
  const { handle } = await createPrimary(tpm, parent, STORAGE_PRIMARY);
  return flushAfter(tpm, handle, () => work(handle));
}

async function flushAfter<T>(tpm: TpmConnection, handle: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await flush(tpm, handle).catch(() => {}); // the first error says more
  }
}
