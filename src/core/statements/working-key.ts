import { cryptoProvider } from '#crypto';
import type { CryptoProvider, Signer } from '../crypto/provider';
import { assertOptionNames, isWithin } from '../options';
import { RenewedKeys } from './renewed-keys';
import { STATEMENT_LIMITS } from './statement';

/** How to make working keys. Every option is optional; a wrong one is a TypeError. */
export interface WorkingKeyOptions {
  /**
   * How long a working key lasts, in seconds, from 120 to 86,100; default 7,200. It is renewed after half of that, so with
   * the default the device key signs at most once an hour.
   */
  readonly lifetimeSeconds?: number | undefined;
  /**
   * Called when a working key cannot be renewed, at most every five minutes. The old one still serves until `untilMs`, Unix
   * milliseconds.
   */
  readonly onRenewalFailure?: ((error: unknown, untilMs: number) => void) | undefined;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof WorkingKeyOptions>([
  'lifetimeSeconds',
  'onRenewalFailure',
  'crypto',
  'now',
]);

/**
 * A signer that signs requests with a working key: a key in memory, about which the device key signs a statement. It is for device
 * keys that are slow to sign, such as keys in hardware. The device key itself signs everything other than requests.
 *
 * The first request makes the working key. After half of its life, a request renews it in the background. So does a refusal, at
 * most twice an hour: the target may have cut off the earlier working keys of the device. Over https, the client then sends the
 * refused request once more.
 *
 * @param signer signs with the device key
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "Working keys"
 */
export function withWorkingKey(signer: Signer, options: WorkingKeyOptions = {}): Signer {
  if (typeof signer?.sign !== 'function' || signer.publicKey?.length !== 33)
    throw new TypeError('withWorkingKey() needs a signer.');
  const keys = new RenewedKeys(signer, { kind: 'request', ...readOptions(options) });
  return {
    publicKey: signer.publicKey,
    sign: (message) => signer.sign(message),
    requestSigner: () => keys.current(),
  };
}

function readOptions(options: WorkingKeyOptions) {
  assertOptionNames('withWorkingKey()', options, NAMES);
  const { lifetimeSeconds = 7200, onRenewalFailure, crypto = cryptoProvider, now = Date.now } = options;
  const longest = STATEMENT_LIMITS.requestSeconds - STATEMENT_LIMITS.backdatedSeconds;
  if (!Number.isInteger(lifetimeSeconds) || !isWithin(lifetimeSeconds, 120, longest))
    throw new TypeError(`lifetimeSeconds is a whole number of seconds from 120 to ${longest}.`);
  if (onRenewalFailure !== undefined && typeof onRenewalFailure !== 'function')
    throw new TypeError('onRenewalFailure must be a function.');
  if (typeof crypto.generatePrivateKey !== 'function')
    throw new TypeError('crypto must be a CryptoProvider.');
  if (typeof now !== 'function') throw new TypeError('now must be a function.');
  return { lifetimeSeconds, onRenewalFailure, crypto, now };
}
