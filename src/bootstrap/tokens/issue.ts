import { cryptoProvider } from '#crypto';
import { toBase64Url } from '../../core/encoding';
import { newStatementId } from '../../core/statements/new-id';
import { parseHosts } from '../../core/wire/authority';
import { toRelayUrl } from '../../pairing/relay/url';
import type { Device } from '../../trust/device';
import type { Grant, IssuedToken } from '../../trust/format/tokens';
import { addGrant } from '../../trust/grants';
import { cleanName } from '../../trust/names';
import { MAX_SCOPES, scopesMember, toScopes } from '../../trust/rights/scopes';
import { addIssued } from '../../trust/tokens';
import { isNamePattern } from './names';
import { signToken } from './sign-token';
import { TOKEN_LIMITS } from './token';

/** The machine that a token is for, and how long the token is valid. */
export interface ProvisionOptions {
  /** The name for the machine; cleaned, at most 64 code points. */
  readonly friendlyName: string;
  /** How long the token is valid, in seconds, 1 to 86,400; default 3600. */
  readonly lifetimeSeconds?: number | undefined;
  /** The authorities under which the machine will be called; default: loopback names only. */
  readonly hosts?: readonly string[] | undefined;
  /** What this device may do on the machine, at most 16 scopes; default: nothing that requires a scope. */
  readonly scopes?: readonly string[] | undefined;
  /** A relay over which the machine confirms that it took the token; default: none. */
  readonly relay?: string | undefined;
}

/**
 * Issues a token for a machine without a terminal, which will trust this device as a controller. Records the token as
 * pending.
 *
 * @returns the token, which is not stored, and its entry in the list
 * @throws TypeError for a wrong option; AmeshError `host_taken`, `too_many_scopes`
 * @see docs/provisioning.md
 */
export async function issueProvision(
  device: Device,
  options: ProvisionOptions,
): Promise<{
  /** The token, for its machine only. It is secret, and not stored. */
  token: string;
  /** Its entry in the list. */
  entry: IssuedToken;
}> {
  const { signer, trust } = device;
  const friendlyName = cleanName(options.friendlyName);
  const hosts = readHosts(options.hosts ?? []);
  const scopes = readScopes(options.scopes, TOKEN_LIMITS.scopes);
  const relay = options.relay === undefined ? {} : { relay: toRelayUrl(options.relay) };
  const common = commonClaims(device, hosts, options.lifetimeSeconds);
  const secret = toBase64Url(cryptoProvider.randomBytes(32));
  const claims = { ...common, target: friendlyName, secret, ...scopes, ...relay };
  const token = await signToken('provision', claims, signer);
  const entry: IssuedToken = {
    kind: 'issued',
    id: common.jti,
    friendlyName,
    hosts,
    ...scopes,
    secret,
    issuedAt: common.iat,
    expiresAt: common.exp,
    takenBy: null,
    cancelledAt: null,
  };
  await trust.update((draft) => addIssued(draft, entry, common.iat));
  return { token, entry };
}

/** How many callers may enrol with a grant, under which names, and how long they stay. */
export interface GrantOptions {
  /** The names that callers may have; one `*` matches any text. */
  readonly names: string;
  /** How long callers may enrol, in seconds, 1 to 86,400; default 3600. */
  readonly lifetimeSeconds?: number | undefined;
  /** How many callers may enrol, 1 to 100,000. */
  readonly uses: number;
  /** How long an unused entry lasts, in seconds, 60 to 31,536,000. */
  readonly leaseSeconds: number;
  /** How long an entry lasts at most, in seconds, from the lease to 31,536,000. */
  readonly maxLeaseSeconds: number;
  /** The authorities under which callers reach this device; default: loopback names only. */
  readonly hosts?: readonly string[] | undefined;
  /** What callers may do, at most 64 scopes; default: nothing that requires a scope. */
  readonly scopes?: readonly string[] | undefined;
  /** Whether the servers of this device can prove their answers; default true. */
  readonly proves?: boolean | undefined;
}

const MAX_USES = 100_000;
const YEAR_SECONDS = 31_536_000;

/**
 * Issues a token with which callers add themselves to this device's list. Records the grant with its public key.
 *
 * @returns the token, which is not stored, and its entry in the list
 * @throws TypeError for a wrong option; AmeshError `too_many_scopes`
 * @see docs/provisioning.md
 */
export async function issueGrant(
  device: Device,
  options: GrantOptions,
): Promise<{
  /** The token, for the callers. It is secret, and not stored. */
  token: string;
  /** Its entry in the list. */
  grant: Grant;
}> {
  const { signer, trust } = device;
  const { uses, leaseSeconds, maxLeaseSeconds } = options;
  const names = cleanName(options.names);
  if (!isNamePattern(names)) throw new TypeError('The names of a grant must have at most one *.');
  assertWithin('uses', uses, 1, MAX_USES);
  assertWithin('leaseSeconds', leaseSeconds, 60, YEAR_SECONDS);
  assertWithin('maxLeaseSeconds', maxLeaseSeconds, leaseSeconds, YEAR_SECONDS);
  const scopes = readScopes(options.scopes, MAX_SCOPES);
  const common = commonClaims(device, readHosts(options.hosts ?? []), options.lifetimeSeconds);
  const jwk = await cryptoProvider.generatePrivateKey();
  const { publicKey } = await cryptoProvider.importPrivateKey(jwk);
  const more = options.proves === false ? { proves: false as const } : {};
  const token = await signToken('grant', { ...common, callers: names, jwk, ...more }, signer);
  const grant: Grant = {
    id: common.jti,
    publicKey: toBase64Url(publicKey),
    names,
    uses,
    used: 0,
    leaseSeconds,
    maxLeaseSeconds,
    ...scopes,
    issuedAt: common.iat,
    expiresAt: common.exp,
  };
  await trust.update((draft) => addGrant(draft, grant, common.iat));
  return { token, grant };
}

function commonClaims({ identity }: Device, hosts: readonly string[], lifetimeSeconds = 3600) {
  assertWithin('lifetimeSeconds', lifetimeSeconds, 1, TOKEN_LIMITS.lifetimeSeconds);
  const iat = Math.floor(Date.now() / 1000);
  return {
    iss: identity.deviceId,
    key: identity.publicKey,
    name: cleanName(identity.friendlyName), // cleaned, since identity.json is not sealed
    hosts,
    iat,
    exp: iat + lifetimeSeconds,
    jti: newStatementId(cryptoProvider),
  };
}

function readHosts(hosts: readonly string[]): string[] {
  const parsed = parseHosts(hosts);
  if (parsed.length > TOKEN_LIMITS.hosts)
    throw new TypeError(`A token can have at most ${TOKEN_LIMITS.hosts} hosts.`);
  return parsed;
}

function readScopes(given: readonly string[] | undefined, most: number): { scopes?: readonly string[] } {
  const scopes = toScopes(given ?? []);
  if (scopes.length > most) throw new TypeError(`A token can have at most ${most} scopes.`);
  return scopesMember(scopes);
}

function assertWithin(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new TypeError(`${name} must be a whole number from ${least} to ${most}.`);
}
