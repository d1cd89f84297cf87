import { cryptoProvider } from '#crypto';
import type { CryptoProvider, RequestSigner, Signer } from '../crypto/provider';
import { AmeshError } from '../errors/amesh-error';
import { CLIENT_CODES } from '../errors/codes';
import { momentText } from '../moment';
import { assertOptionNames } from '../options';
import { type DelegationTarget, readTargets } from './delegation-targets';
import { openKeyText, readKeyText } from './key-text';

/** What a delegation permits, and which device lends it. */
export interface DelegationFacts {
  /** The ID of the device that lends a part of its power. */
  readonly deviceId: string;
  /** The name of the delegate. */
  readonly name: string;
  /** The most that it may do: scopes and wildcards. It has only those that the device has, too. */
  readonly scopes: readonly string[];
  /** The device IDs of the targets that it may call. */
  readonly targets: readonly string[];
  /** Unix seconds: the moment at which it ends. */
  readonly expiresAt: number;
  /** The ID by which it is revoked: `amesh revoke --delegate ID`. 22 base64url characters. */
  readonly id: string;
}

/** A signer that signs requests as a delegate, and nothing else. */
export interface DelegatedSigner extends Signer {
  /** What it may do. */
  readonly delegation: DelegationFacts;
  /** Its targets with the keys that prove their answers; empty if the text has no keys. */
  readonly targets: readonly DelegationTarget[];
}

/** How to open a delegation. Every option is optional; a wrong one is a TypeError. */
export interface DelegatedSignerOptions {
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof DelegatedSignerOptions>(['crypto', 'now']);

/**
 * Opens a delegation that `amesh delegate` printed.
 *
 * @param text the whole text, which is a secret. No error repeats it
 * @returns a signer for `createClient()`. After the end of the delegation, requests fail with `delegation_ended`. The method
 *   `sign()` always fails, since a delegate cannot act as the device
 * @throws TypeError if it is not a delegation, and for a wrong option
 * @see docs/protocol.md, "Delegates"
 */
export async function delegatedSigner(
  text: string,
  options: DelegatedSignerOptions = {},
): Promise<DelegatedSigner> {
  assertOptionNames('delegatedSigner()', options, NAMES);
  const { crypto = cryptoProvider, now = Date.now } = options;
  const read = readKeyText('request', text);
  const claims = read?.statement.delegation;
  if (read === null || claims === undefined) throw notDelegation();
  const { deviceId, expiresAt, id } = read.statement;
  const key = await openKeyText(read, crypto);
  const targets = await readTargets(read.targetKeys, claims.targets, crypto);
  if (key === null || targets === null) throw notDelegation();
  const delegation = Object.freeze({ deviceId, ...claims, expiresAt, id });
  const worker: RequestSigner = {
    publicKey: key.publicKey,
    sign: (message) => key.sign(message),
    deviceId,
    statement: read.text,
  };
  return {
    publicKey: key.publicKey,
    sign: async () => {
      throw new TypeError('A delegate signs requests only: it cannot act as the device.');
    },
    requestSigner() {
      if (now() < expiresAt * 1000) return worker;
      throw new AmeshError(
        CLIENT_CODES.delegation_ended,
        `The delegation "${delegation.name}" of ${deviceId} ended at ${momentText(expiresAt * 1000)}.`,
      );
    },
    delegation,
    targets,
  };
}

function notDelegation(): TypeError {
  return new TypeError(
    'This is not a delegation. Copy the whole text that amesh delegate printed: it begins with amesh_delegation_.',
  );
}
