import { cryptoProvider } from '#crypto';
import type { PublicKey, Signer } from '../core/crypto/provider';
import { fromBase64Url, toBase64Url } from '../core/encoding';
import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { PROCESS_CODES } from '../process/errors/codes';
import type { KeyBackend, KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { DEADLINE_MS, NOTICE_MS, toPatience, waitFor } from './slow/patience';

/**
 * A private key that amesh cannot open: a program that can use it gives `createAmesh()` a signer. Its reference is the public key.
 * It opens as a signer that refuses to sign, so that everything that needs no signature works without the key.
 *
 * @see docs/keys.md
 */
export const external: KeyBackend = Object.freeze({
  id: 'external',
  isOutsideProcess: true,
  mayAskPerson: true,

  async describe() {
    return 'Outside amesh: only a program with createAmesh({ signer }) uses it. Who could copy it depends on where it is; anybody who may have it sign can act as this machine.';
  },

  async probe() {
    return { available: true, hardware: false };
  },

  async create({ publicKey }: KeyContext) {
    if (publicKey !== undefined) return { ref: toBase64Url(publicKey), publicKey };
    throw new AmeshError(KEY_CODES.key_backend_unavailable, 'amesh cannot make a key outside itself.', {
      fix: 'Make it there, and give its public key to',
      command: ['amesh', 'init', '--name', 'NAME', '--public-key', 'FILE'],
    });
  },

  async open(ref: string) {
    return {
      publicKey: pointOf(ref),
      sign: async () => {
        throw new AmeshError(KEY_CODES.signer_required);
      },
    };
  },

  /** The key stays where it is. */
  async remove(ref: string) {
    pointOf(ref);
  },
} satisfies KeyBackend);

/** @throws AmeshError `identity_unreadable` */
function pointOf(ref: string): Uint8Array {
  const point = fromBase64Url(ref);
  if (point?.length === 33) return point;
  throw new AmeshError(PROCESS_CODES.identity_unreadable, 'identity.json does not contain its public key.');
}

/**
 * Refuses a value that cannot be a signer. The first signature shows whether the point is on the curve.
 *
 * @throws TypeError
 */
export function assertSigner(signer: Signer): void {
  const isPoint = signer?.publicKey instanceof Uint8Array && signer.publicKey.length === 33;
  if (!isPoint || ![2, 3].includes(signer.publicKey[0] as number))
    throw new TypeError(
      'signer.publicKey must be a compressed P-256 point: a Uint8Array of 33 bytes. A KeyObject or CryptoKey is not a signer: see docs/keys.md, "A key outside amesh".',
    );
  if (typeof signer.sign !== 'function') throw new TypeError('signer.sign must be a function.');
}

/**
 * The signer of a program. Its signatures are tested before they are used. If it does not sign within 60 s, that is an error, so
 * that nobody waits for ever; after 2 s, a line on stderr says what amesh waits for.
 */
export function externalSigner(
  signer: Signer,
  patience = { noticeMs: NOTICE_MS, deadlineMs: DEADLINE_MS },
): Signer {
  const publicKey = signer.publicKey.slice();
  const key = (async () => cryptoProvider.importPublicKey(publicKey))();
  key.catch(() => {}); // reported at the first signature
  const sign = (message: Uint8Array) => {
    const signing = (async () => signer.sign(message))();
    return waitFor(toPatience({}, WAITING, patience), signing, () => silent(patience.deadlineMs));
  };
  const checked: Signer = { publicKey, sign: (message) => signAndCheck({ publicKey, sign }, key, message) };
  if (signer.requestSigner === undefined) return checked;
  return { ...checked, requestSigner: () => (signer as Required<Signer>).requestSigner() };
}

const WAITING = 'Waiting for a signature of the signer that the program gave.';

function silent(deadlineMs: number): AmeshError {
  return new AmeshError(KEY_CODES.signer_failed, `The signer has not signed within ${deadlineMs / 1000} s.`, {
    fix: 'Check that the service with the key can be reached, and give its client a timeout.',
  });
}

async function signAndCheck(
  signer: Signer,
  key: Promise<PublicKey>,
  message: Uint8Array,
): Promise<Uint8Array> {
  let signature: Uint8Array;
  try {
    signature = await signer.sign(message);
  } catch (cause) {
    if (isAmeshError(cause)) throw cause;
    throw new AmeshError(KEY_CODES.signer_failed, undefined, { cause });
  }
  if (!(signature instanceof Uint8Array) || signature.length !== 64)
    throw new AmeshError(
      KEY_CODES.signer_failed,
      `The signer did not return a Uint8Array of 64 bytes${signature instanceof Uint8Array ? `, but of ${signature.length}` : ''}.`,
      { fix: 'Return r and s, each 32 bytes. fromDerSignature() makes them of a DER signature.' },
    );
  let isRight = false;
  try {
    isRight = await (await key).verify(signature, message);
  } catch {
    // not a point on the curve
  }
  if (isRight) return signature;
  throw new AmeshError(
    KEY_CODES.signer_failed,
    `The signer returned a signature that its public key ${toBase64Url(signer.publicKey)} does not verify.`,
    { fix: 'Use ECDSA over SHA-256 of the whole message, and the public key of the same key.' },
  );
}
