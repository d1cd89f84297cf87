import { cryptoProvider } from '#crypto';
import type { CryptoProvider, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { isScopePattern } from '../devices/scopes';
import { isWithin } from '../options';
import { isDeviceId } from '../wire/credentials';
import type { DelegationFacts } from './delegated-signer';
import { readTargets, toTargetKey } from './delegation-targets';
import { toKeyText } from './key-text';
import { newStatementId } from './new-id';
import { isDelegateName } from './read-statement';
import { periodFrom, signStatement } from './sign-statement';
import { STATEMENT_LIMITS } from './statement';

/** The key of a target. */
export interface TargetKey {
  /** One of the targets. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** Whether it can prove its answers; default true. */
  readonly proves?: boolean | undefined;
  /**
   * The authorities at which it is called, `host[:port]` in normal form; only the first 16 are used. With several targets, a
   * delegate asks for proven answers only at these. Default: none.
   */
  readonly hosts?: readonly string[] | undefined;
}

/** What to lend, to whom, and for how long. */
export interface IssueDelegationOptions {
  /** The name of the delegate: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** The most that it may do: 1 to 16 scopes or wildcards. */
  readonly scopes: readonly string[];
  /** The device IDs of the targets that it may call: 1 to 16. */
  readonly targets: readonly string[];
  /** The public keys of all these targets, in base64url, so that the delegate can prove their answers. Default: none. */
  readonly targetKeys?: readonly TargetKey[] | undefined;
  /** How long the delegation lasts, in seconds: 60 to 86,400. */
  readonly lifetimeSeconds: number;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A delegation that was made. */
export interface IssuedDelegation {
  /** For AMESH_DELEGATION. A secret. */
  readonly text: string;
  /** What it permits. */
  readonly facts: DelegationFacts;
}

/**
 * Lends some of a device's scopes to a job or an agent. The device keeps no record of that.
 *
 * @param signer signs with the device key
 * @throws TypeError for a wrong option, and if the statement would have more than 1,024 characters; what the signer throws
 */
export async function issueDelegation(
  signer: Signer,
  options: IssueDelegationOptions,
): Promise<IssuedDelegation> {
  const { name, lifetimeSeconds, crypto = cryptoProvider, now = Date.now } = options;
  const scopes = [...new Set(options.scopes)].sort();
  const targets = [...new Set(options.targets)].sort();
  assertFits(options, scopes, targets);
  const keys = keysOf(targets, options.targetKeys ?? []);
  if ((await readTargets(keys, targets, crypto)) === null)
    throw new TypeError('targetKeys must have the key of each target, and each host once, in normal form.');
  const { x, y, d } = await crypto.generatePrivateKey();
  const deviceId = await deviceIdOf(signer.publicKey, crypto);
  const { issuedAt, expiresAt } = periodFrom('request', now(), lifetimeSeconds);
  const id = newStatementId(crypto);
  const delegation = { name, scopes, targets };
  const claims = { kind: 'request', deviceId, x, y, issuedAt, expiresAt, id, delegation } as const;
  const statement = await signStatement(claims, signer);
  if (statement.length > STATEMENT_LIMITS.characters)
    throw new TypeError(
      `The delegation would be too long: its statement has ${statement.length} characters, and at most ${STATEMENT_LIMITS.characters} are possible. Use wildcards, or fewer scopes or targets.`,
    );
  return {
    text: toKeyText('request', d, statement, keys),
    facts: { deviceId, name, scopes, targets, expiresAt, id },
  };
}

/** In the order of the targets. */
function keysOf(targets: readonly string[], given: readonly TargetKey[]): string[] {
  if (given.length === 0) return [];
  return targets.map((id) => {
    const { publicKey = '', proves, hosts } = given.find(({ deviceId }) => deviceId === id) ?? {};
    return toTargetKey(publicKey, { proves, hosts: targets.length > 1 ? hosts : [] }); // a single target has all hosts
  });
}

function assertFits(
  { name, lifetimeSeconds }: IssueDelegationOptions,
  scopes: readonly string[],
  targets: readonly string[],
): void {
  if (!isDelegateName(name)) throw new TypeError('name must have 1 to 64 of A-Z a-z 0-9 . _ -.');
  if (!isWithin(scopes.length, 1, STATEMENT_LIMITS.scopes) || !scopes.every(isScopePattern))
    throw new TypeError(`scopes must be 1 to ${STATEMENT_LIMITS.scopes} scopes or wildcards.`);
  if (!isWithin(targets.length, 1, STATEMENT_LIMITS.targets) || !targets.every(isDeviceId))
    throw new TypeError(`targets must be 1 to ${STATEMENT_LIMITS.targets} device IDs.`);
  if (!Number.isInteger(lifetimeSeconds) || !isWithin(lifetimeSeconds, 60, STATEMENT_LIMITS.requestSeconds))
    throw new TypeError(
      `lifetimeSeconds is a whole number of seconds from 60 to ${STATEMENT_LIMITS.requestSeconds}.`,
    );
}
