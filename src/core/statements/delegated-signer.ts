import { cryptoProvider } from '#crypto';
import type { CryptoProvider, RequestSigner, Signer } from '../crypto/provider';
import { AmeshError } from '../errors/amesh-error';
import { CLIENT_CODES } from '../errors/codes';
import { momentText } from '../moment';
import { assertOptionNames } from '../options';
import { readStatement } from './read-statement';

/** What a delegation permits, and whose power it is. */
export interface DelegationFacts {
  /** The ID of the device that lends a part of its power. */
  readonly deviceId: string;
  /** The name of the delegate. */
  readonly name: string;
  /** At most what it may do: scopes and wildcards. The device must have them, too. */
  readonly scopes: readonly string[];
  /** The device IDs of the targets that it may call. */
  readonly targets: readonly string[];
  /** Unix seconds: the moment at which it ends. */
  readonly expiresAt: number;
  /** Revokes it: `amesh revoke --delegate ID`. 22 base64url characters. */
  readonly id: string;
}

/** A signer that signs requests as a delegate, and nothing else. */
export interface DelegatedSigner extends Signer {
  /** What it may do. */
  readonly delegation: DelegationFacts;
}

/** How to open a delegation. Every option is optional; a wrong one is a TypeError. */
export interface DelegatedSignerOptions {
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof DelegatedSignerOptions>(['crypto', 'now']);

/** What the text of a delegation begins with, so that people and scanners for secrets recognise it. */
export const DELEGATION_PREFIX = 'amesh_delegation_';
const FORM = /^amesh_delegation_([A-Za-z0-9_-]{43})\.([\w.-]+)$/;

/**
 * Opens a delegation that `amesh delegate` printed.
 *
 * @param text the whole text, which is a secret. No error repeats it
 * @returns a signer for `createClient()`. After the end of the delegation, requests fail with `delegation_ended`. Its own
 *   `sign()` fails, since a delegate cannot act as the device
 * @throws TypeError if it is not a delegation, and for a wrong option
 * @see docs/protocol.md, "Delegates"
 */
export async function delegatedSigner(
  text: string,
  options: DelegatedSignerOptions = {},
): Promise<DelegatedSigner> {
  assertOptionNames('delegatedSigner()', options, NAMES);
  const { crypto = cryptoProvider, now = Date.now } = options;
  const [, d = '', statement = ''] = FORM.exec(String(text)) ?? [];
  const read = readStatement(statement, 'request');
  const claims = read?.delegation;
  if (read === null || claims === undefined) throw notDelegation();
  const { x, y, deviceId, expiresAt, id } = read;
  const key = await openKey({ kty: 'EC', crv: 'P-256', x, y, d }, crypto);
  const delegation = Object.freeze({ deviceId, ...claims, expiresAt, id });
  const worker: RequestSigner = {
    publicKey: key.publicKey,
    sign: (message) => key.sign(message),
    deviceId,
    statement,
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
  };
}

async function openKey(jwk: Parameters<CryptoProvider['importPrivateKey']>[0], crypto: CryptoProvider) {
  try {
    return await crypto.importPrivateKey(jwk);
  } catch {
    throw notDelegation(); // without the cause, which may quote the key
  }
}

function notDelegation(): TypeError {
  return new TypeError(
    'This is not a delegation. Copy the whole text that amesh delegate printed: it begins with amesh_delegation_.',
  );
}

/** The text of a delegation: its private key, and the statement about it. */
export function toDelegationText(d: string, statement: string): string {
  return `${DELEGATION_PREFIX}${d}.${statement}`;
}
