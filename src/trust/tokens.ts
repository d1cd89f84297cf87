import type { Role } from '../core/devices/allow-list';
import { AmeshError } from '../core/errors/amesh-error';
import { addDevice, assertHostsFree, setHosts } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { ListDraft } from './format/draft';
import { hasLeft } from './format/ended';
import type { DeviceEntry, Tombstone } from './format/entry';
import type { ListHead } from './format/head';
import type { IssuedToken, TakenToken } from './format/tokens';

/** How long an issued token is remembered after it ends: its machine, or a second one, may register late. */
const KEEP_ISSUED_SECONDS = 30 * 86_400;

/** The part of a provision token that changes the list of the machine that takes it. */
export interface Provision {
  readonly id: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  readonly controller: {
    readonly deviceId: string;
    readonly publicKey: string;
    readonly friendlyName: string;
  };
  /** The authorities under which this machine is called, in normal form. */
  readonly hosts: readonly string[];
  /** What the issuer may do here; default nothing that requires a scope. */
  readonly scopes?: readonly string[] | undefined;
}

/** What this device remembers about a token that it has taken; undefined if it has not taken that token. */
export function findTaken({ tokens }: Pick<ListHead, 'tokens'>, id: string): TakenToken | undefined {
  return tokens.find((token): token is TakenToken => token.kind === 'taken' && token.id === id);
}

/**
 * Checks that a token is newer than the last revocation of its issuer: an older token brings nobody back.
 *
 * @param role what the issuer gets by the token. If it has that role, somebody has trusted it again since
 * @throws AmeshError `token_revoked`
 */
export async function assertNotRevoked(
  draft: Pick<ListDraft, 'device' | 'tombstone'>,
  issuer: string,
  role: Role,
  issuedAt: number,
): Promise<void> {
  const known = (await draft.device(issuer)) ?? (await draft.tombstone(issuer));
  if (isFromBefore(issuedAt, known, role)) throw issuerRevoked(issuer, known);
}

/**
 * Whether a device was revoked, or lost a role, or had its keys cut, after a token was issued.
 *
 * @param known its entry or tombstone. An entry with that role means that somebody has trusted it again since
 */
export function isFromBefore(
  issuedAt: number,
  known: DeviceEntry | Tombstone | undefined,
  role: Role,
): boolean {
  if (known === undefined) return false;
  if ('revokedAt' in known) return issuedAt <= known.revokedAt;
  // A device that is trusted again with another role has no tombstone any more.
  return !known.roles.includes(role) && issuedAt <= (known.keysSince ?? -1);
}

/** The error for a token of an issuer that was revoked here. @param known its entry or tombstone */
export function issuerRevoked(issuer: string, known: DeviceEntry | Tombstone | undefined): AmeshError {
  // Of a device that is in the list, nobody knows any more which of the two it was.
  const what = known !== undefined && 'revokedAt' in known ? 'was' : 'or its working keys were';
  return new AmeshError(
    TRUST_CODES.token_revoked,
    `The issuer of the token (${issuer}) ${what} revoked on this machine after it issued the token.`,
  );
}

/**
 * Takes a provision token: trusts its issuer as a controller, and remembers the token for ever, so that a token that stays in the
 * environment brings nobody back. If the token was taken before, the draft stays unchanged.
 *
 * @throws AmeshError `token_revoked` if its issuer was revoked after it was issued; `own_key`, `key_mismatch`
 */
export async function takeProvision(
  draft: ListDraft,
  { id, issuedAt, controller, hosts, scopes }: Provision,
  nowSeconds: number,
): Promise<void> {
  if (findTaken(draft.head, id) !== undefined) return;
  await assertNotRevoked(draft, controller.deviceId, 'controller', issuedAt);
  const known = await draft.device(controller.deviceId);
  // The issuer chose these scopes. If it may call already, only this machine can give it more.
  const isCaller = known?.roles.includes('controller') && !hasLeft(known, nowSeconds);
  const given = isCaller ? undefined : scopes;
  await addDevice(draft, { ...controller, role: 'controller', hosts: [], scopes: given }, nowSeconds);
  if (hosts.length > 0) setHosts(draft, [...draft.head.hosts, ...hosts]);
  keepToken(draft, { kind: 'taken', id, issuer: controller.deviceId, takenAt: nowSeconds, until: null });
}

/** Adds a token that this device has taken, or takes again. */
export function keepToken(draft: ListDraft, token: TakenToken): void {
  // Another device chose the ID, so it may also be the ID of a token that this device has issued.
  const others = draft.head.tokens.filter(({ id, kind }) => id !== token.id || kind !== token.kind);
  draft.change({ tokens: [...others, token] });
}

/**
 * Adds a token that this device issues, and forgets tokens that ended long ago.
 *
 * @throws AmeshError `host_taken` if one of its hosts already belongs to a target
 */
export async function addIssued(draft: ListDraft, token: IssuedToken, nowSeconds: number): Promise<void> {
  await assertHostsFree(draft, token.hosts, '');
  const others = draft.head.tokens.filter(
    (other) => other.kind === 'taken' || other.expiresAt + KEEP_ISSUED_SECONDS > nowSeconds,
  );
  draft.change({ tokens: [...others, token] });
}

/** A token that this device has issued and still remembers. */
export function findIssued({ tokens }: Pick<ListHead, 'tokens'>, id: string): IssuedToken | undefined {
  return tokens.find((token): token is IssuedToken => token.kind === 'issued' && token.id === id);
}

/** The issued tokens with which no machine has registered yet, without cancelled ones. */
export function pendingTokens({ tokens }: Pick<ListHead, 'tokens'>): IssuedToken[] {
  return tokens.filter(
    (token): token is IssuedToken =>
      token.kind === 'issued' && token.takenBy === null && token.cancelledAt === null,
  );
}

/** A machine that registers with a token. It has proved that it has the token's secret and its own private key. */
export interface Registrant {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
  /** The authorities under which it is called, in normal form; only those that can be believed. */
  readonly hosts: readonly string[];
}

/**
 * Records the machine that took a token: it becomes a target. A host that belongs to another target stays there. If the machine
 * registers again, it gets no role that a person has taken from it since.
 *
 * @throws AmeshError `token_used_twice` if another machine has registered with the token, `token_revoked` if the token was
 *   cancelled or the machine has been revoked since; `own_key`, `key_mismatch`
 */
export async function registerTarget(
  draft: ListDraft,
  id: string,
  { hosts, ...machine }: Registrant,
  nowSeconds: number,
): Promise<void> {
  const token = findIssued(draft.head, id);
  if (token === undefined) return;
  if (token.cancelledAt !== null)
    throw new AmeshError(TRUST_CODES.token_revoked, 'A machine took a token that was cancelled.');
  const isFirst = token.takenBy === null;
  if (!isFirst && token.takenBy !== machine.publicKey) throw new AmeshError(TRUST_CODES.token_used_twice);
  const known = await draft.device(machine.deviceId);
  const found = known ?? (await draft.tombstone(machine.deviceId));
  if (isFirst && isFromBefore(token.issuedAt, found, 'target'))
    throw new AmeshError(
      TRUST_CODES.token_revoked,
      'A machine took a token that was issued before the machine was revoked here.',
    );
  // The machine was revoked here since, and perhaps trusted again with another role.
  if (!isFirst && !known?.roles.includes('target')) return;
  const others = new Set(
    draft.head.targets.flatMap(([host, other]) => (other === machine.deviceId ? [] : [host])),
  );
  const own = hosts.filter((host) => !others.has(host));
  await addDevice(draft, { ...machine, role: 'target', hosts: own }, nowSeconds);
  if (isFirst) replaceToken(draft, { ...token, takenBy: machine.publicKey });
}

/**
 * Cancels a token that this device has issued: a machine that registers with it does not become a target. A machine can
 * still take the token. If the token is unknown, cancelled or taken, the draft stays unchanged.
 */
export function cancelToken(draft: ListDraft, id: string, nowSeconds: number): void {
  const token = findIssued(draft.head, id);
  if (token === undefined || token.cancelledAt !== null || token.takenBy !== null) return;
  replaceToken(draft, { ...token, cancelledAt: nowSeconds });
}

/**
 * Cancels all tokens with which no machine has registered yet: their machines would trust a key that no longer calls them.
 *
 * @returns their IDs
 */
export function cancelPendingTokens(draft: ListDraft, nowSeconds: number): string[] {
  const ids = pendingTokens(draft.head).map(({ id }) => id);
  for (const id of ids) cancelToken(draft, id, nowSeconds);
  return ids;
}

function replaceToken(draft: ListDraft, token: IssuedToken): void {
  const { tokens } = draft.head;
  draft.change({
    tokens: tokens.map((other) => (other.kind === 'issued' && other.id === token.id ? token : other)),
  });
}
