import { equalBytes } from '../../core/encoding';
import { Channel } from './channel';
import { tampered } from './failure';
import { deriveKeys } from './key-schedule';
import { type Ephemeral, newEphemeral } from './suite';

/** The random values of a side for one ceremony. */
export interface KeyShare {
  readonly ephemeral: Ephemeral;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
}

/** Generates the values that are not given. */
export async function newKeyShare({ ephemeral, nonce }: KeyShareOptions): Promise<KeyShare> {
  return {
    ephemeral: ephemeral ?? (await newEphemeral()),
    nonce: nonce ?? crypto.getRandomValues(new Uint8Array(32)),
  };
}

/** For tests with fixed values. */
export interface KeyShareOptions {
  /** Default: a new key pair. */
  readonly ephemeral?: Ephemeral | undefined;
  /** 32 bytes; default: random. */
  readonly nonce?: Uint8Array | undefined;
}

/** The secrets of both sides after M3. */
export interface SharedSecrets {
  /** The channel counts messages, so only one state may use it. */
  readonly channel: Channel;
  /** The hash of the transcript, 32 bytes. */
  readonly th: Uint8Array<ArrayBuffer>;
  /** Six digits. */
  readonly verificationCode: string;
}

/**
 * Runs ECDH, and derives all keys.
 *
 * @param point the ephemeral key of the peer, 33 bytes
 * @param code the pairing code, six digits
 * @param clear M1, M2 and M3, exactly as sent
 * @throws PairingError `tampered` for our own point, or for bytes that are not a point on the curve
 */
export async function agreeOnKeys(
  role: 'controller' | 'target',
  { ephemeral }: KeyShare,
  point: Uint8Array,
  code: string,
  clear: readonly [string, string, string],
): Promise<SharedSecrets> {
  if (equalBytes(point, ephemeral.publicKey)) throw tampered(); // the peer sent our own key back
  const z = await ephemeral.agree(point).catch(() => {
    throw tampered();
  });
  const keys = await deriveKeys(z, code, clear);
  return {
    channel: await Channel.create(keys, role),
    th: keys.th,
    verificationCode: keys.verificationCode,
  };
}
