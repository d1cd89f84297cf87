import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Signer } from '../core/crypto/provider';
import { AmeshError } from '../core/errors/amesh-error';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { notHere } from './errors/not-here';
import { KeyFiles, lostKey } from './key-files';
import type { KeyMethods } from './late-backend';
import { NEW_IDENTITY, NO_BACKUP } from './passphrase';
import { assertTools, compileHelper, hashOf, unavailable } from './secure-enclave/compile';
import { Helper, MAX_MESSAGE } from './secure-enclave/helper';
import { fromKeyFile, type KeyFile, toKeyFile } from './secure-enclave/key-file';
import { explain } from './secure-enclave/problems';
import { DEADLINE_MS, NOTICE_MS, type Patience, toPatience } from './slow/patience';
import { QueueSigner } from './slow/queue-signer';

const ENDING = '.enclave';
const files = new KeyFiles(ENDING);
const TEST_MESSAGE = new TextEncoder().encode('amesh tests a new key');
const EXPERIMENTAL =
  'Experimental: nobody has run this on a Mac yet. Secretive with --backend ssh-agent is recommended for a Secure Enclave.';

/**
 * A private key in the Secure Enclave of a Mac, which a small program in Swift uses: `init` compiles it, into the folder of
 * the identity. Experimental: nobody has run that program on a Mac yet, so Secretive and `ssh-agent` are recommended.
 *
 * @see docs/decisions/045-secure-enclave.md
 */
export const secureEnclave: KeyMethods = Object.freeze({
  async describe() {
    return 'In the Secure Enclave of this Mac (experimental): nobody can copy it. Any program on this Mac that can read the key file can use it.';
  },

  async probe(context: KeyContext, ref?: string) {
    try {
      if (ref === undefined) await assertTools(context);
      else await openKey(ref, context);
      return { available: true, hardware: true, note: EXPERIMENTAL };
    } catch (error) {
      return { ...notHere(error), hardware: true };
    }
  },

  async create(context: KeyContext) {
    const ref = files.refOf(randomBytes(12)); // random: the helper needs its name before there is a key
    const path = helperOf(ref, context);
    try {
      const helper = await compileHelper(path, context);
      const patience = patienceOf(context);
      const key = await withHelper(path, helper, async (running) => {
        const [representation, publicKey] = await running.ask(['create'], [null, 33], patience);
        return { representation, publicKey, helper } as KeyFile;
      });
      await (await toSigner(key, path, patience)).sign(TEST_MESSAGE);
      await files.write(ref, toKeyFile(key), context);
      return { ref, publicKey: key.publicKey };
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  },

  async open(ref: string, context: KeyContext) {
    return openKey(ref, context);
  },

  /** The Secure Enclave keeps no list of its keys: without its data representation a key is gone. */
  async remove(ref: string, context: KeyContext) {
    await files.remove(ref, context);
    await rm(helperOf(ref, context), { force: true });
  },
} satisfies KeyMethods);

async function openKey(ref: string, context: KeyContext): Promise<Signer> {
  const key = fromKeyFile(await files.read(ref, context));
  if (key === null) throw lostKey(`The key file ${ref} is damaged.`);
  if (process.platform !== 'darwin')
    throw new AmeshError(
      KEY_CODES.key_lost,
      'The private key is in the Secure Enclave of a Mac, and this is not a Mac.',
    );
  const patience = patienceOf(context);
  const path = helperOf(ref, context);
  const signer = await toSigner(key, path, patience);
  await withHelper(path, key.helper, (helper) => openIn(helper, key, patience)); // now, and not at the first request
  return signer;
}

async function toSigner(key: KeyFile, path: string, patience: Patience): Promise<Signer> {
  const queue = await QueueSigner.of({
    publicKey: key.publicKey,
    explain: async (error) => explain(error, path),
    signAll: (next, done) =>
      withHelper(path, key.helper, async (helper) => {
        await openIn(helper, key, patience);
        for (let message = next(); message !== undefined; message = next()) {
          const [signature] = await helper.ask(['sign', message], [64], patience);
          await done(signature as Uint8Array);
        }
      }),
  }).catch((cause) => {
    throw explain(new RangeError('an invalid public key', { cause }), path);
  });
  return {
    publicKey: queue.publicKey,
    async sign(message) {
      if (message.length <= MAX_MESSAGE) return queue.sign(message);
      throw unavailable(`The helper for the Secure Enclave signs at most ${MAX_MESSAGE} bytes at once.`, {
        fix: 'So long a list needs another key backend: see docs/keys.md.',
      });
    },
  };
}

async function openIn(helper: Helper, key: KeyFile, patience: Patience): Promise<void> {
  const [publicKey] = await helper.ask(['open', key.representation], [33], patience);
  if (!Buffer.from(publicKey as Uint8Array).equals(key.publicKey)) throw new RangeError('another public key');
}

/**
 * Starts the helper for the messages that have to be signed now. Nothing runs between signatures.
 *
 * @param hash the SHA-256 of the helper that `init` compiled
 */
async function withHelper<T>(path: string, hash: string, use: (helper: Helper) => Promise<T>): Promise<T> {
  const found = await hashOf(path);
  if (found !== hash)
    throw unavailable(
      `The helper ${path} ${found === null ? 'is missing' : 'was changed'} since the key was made.`,
      {
        fix: `Restore it from a backup of this Mac. ${NO_BACKUP}`,
        command: NEW_IDENTITY,
      },
    );
  let helper: Helper | undefined;
  try {
    helper = new Helper(path);
    return await use(helper);
  } catch (error) {
    throw explain(error, path);
  } finally {
    helper?.close();
  }
}

function helperOf(ref: string, { dir }: KeyContext): string {
  return join(dir, `${ref.slice(0, -ENDING.length)}.enclave-helper`);
}

function patienceOf(context: KeyContext): Patience {
  return toPatience(context, 'Waiting for the helper of the Secure Enclave.', {
    noticeMs: NOTICE_MS,
    deadlineMs: DEADLINE_MS,
  });
}
