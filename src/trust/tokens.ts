import { AmeshError } from '../core/errors/amesh-error';
import { addDevice, hostTaken, setHosts } from './changes';
import { TRUST_CODES } from './errors/codes';
import type { AllowListDocument, IssuedToken, TakenToken } from './list/document';

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
}

/** What this device remembers of a token that it took; undefined if it did not take it. */
export function findTaken(document: AllowListDocument, id: string): TakenToken | undefined {
  return document.tokens.find((token): token is TakenToken => token.kind === 'taken' && token.id === id);
}

/**
 * Takes a provision token: trusts its issuer as a controller, and remembers the token for ever, so that a token left in
 * the environment cannot bring a revoked device back.
 *
 * @returns the same document if the token was taken before
 * @throws AmeshError `token_revoked` if its issuer was revoked after issuing it; `own_key`, `key_mismatch`
 */
export function takeProvision(
  document: AllowListDocument,
  { id, issuedAt, controller, hosts }: Provision,
  nowSeconds: number,
): AllowListDocument {
  if (findTaken(document, id) !== undefined) return document;
  const tombstone = document.tombstones.find(({ deviceId }) => deviceId === controller.deviceId);
  if (tombstone !== undefined && issuedAt <= tombstone.revokedAt) {
    throw new AmeshError(
      TRUST_CODES.token_revoked,
      'The issuer of the token was revoked on this machine after it issued the token.',
    );
  }
  const trusted = addDevice(document, { ...controller, role: 'controller', hosts: [] }, nowSeconds);
  const answering = hosts.length === 0 ? trusted : setHosts(trusted, [...trusted.hosts, ...hosts]);
  return withToken(answering, {
    kind: 'taken',
    id,
    issuer: controller.deviceId,
    takenAt: nowSeconds,
    until: null,
  });
}

/** Adds a token that this device took, again or for the first time. */
export function withToken(document: AllowListDocument, token: TakenToken): AllowListDocument {
  // The issuer chose the ID, which may equal that of a token issued here.
  const others = document.tokens.filter(({ id, kind }) => id !== token.id || kind !== token.kind);
  return { ...document, tokens: [...others, token] };
}

/**
 * Adds a token that this device issues, and forgets tokens that ended long ago.
 *
 * @throws AmeshError `host_taken` if one of its hosts already belongs to a target
 */
export function addIssued(
  document: AllowListDocument,
  token: IssuedToken,
  nowSeconds: number,
): AllowListDocument {
  for (const device of document.devices) {
    const host = token.hosts.find((candidate) => device.hosts.includes(candidate));
    if (host !== undefined) throw hostTaken(host, device);
  }
  const others = document.tokens.filter(
    (other) => other.kind === 'taken' || other.expiresAt + KEEP_ISSUED_SECONDS > nowSeconds,
  );
  return { ...document, tokens: [...others, token] };
}

/** A token that this device issued and still remembers. */
export function findIssued(document: AllowListDocument, id: string): IssuedToken | undefined {
  return document.tokens.find((token): token is IssuedToken => token.kind === 'issued' && token.id === id);
}

/** The issued tokens with which no machine has registered yet. */
export function pendingTokens({ tokens }: AllowListDocument): IssuedToken[] {
  return tokens.filter(
    (token): token is IssuedToken =>
      token.kind === 'issued' && token.takenBy === null && token.cancelledAt === null,
  );
}

/** A machine that registers with a token: it proved that it has the token's secret and its own private key. */
export interface Registrant {
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  readonly friendlyName: string;
  /** The authorities under which it is called, as far as they can be believed, in normal form. */
  readonly hosts: readonly string[];
}

/**
 * Records the machine that took a token: it becomes a target. A host that belongs to another target stays there.
 *
 * @returns the same document if the machine is already recorded
 * @throws AmeshError `token_used_twice` if another machine registered with the token, `token_revoked` if the token was
 *   cancelled, or the machine was revoked since; `own_key`, `key_mismatch`
 */
export function registerTarget(
  document: AllowListDocument,
  id: string,
  { hosts, ...machine }: Registrant,
  nowSeconds: number,
): AllowListDocument {
  const token = findIssued(document, id);
  if (token === undefined) return document;
  if (token.cancelledAt !== null)
    throw new AmeshError(TRUST_CODES.token_revoked, 'A machine took a token that was cancelled.');
  const isFirst = token.takenBy === null;
  if (!isFirst && token.takenBy !== machine.publicKey) throw new AmeshError(TRUST_CODES.token_used_twice);
  const tombstone = document.tombstones.find(({ deviceId }) => deviceId === machine.deviceId);
  if (isFirst && tombstone !== undefined && token.issuedAt <= tombstone.revokedAt)
    throw new AmeshError(
      TRUST_CODES.token_revoked,
      'A machine took a token that was issued before the machine was revoked here.',
    );
  const known = document.devices.find(({ deviceId }) => deviceId === machine.deviceId);
  if (!isFirst && known === undefined) return document; // revoked here since then, and the user knows it
  const others = new Set(document.devices.flatMap((other) => (other === known ? [] : other.hosts)));
  const own = hosts.filter((host) => !others.has(host));
  const added = addDevice(document, { ...machine, role: 'target', hosts: own }, nowSeconds);
  if (!isFirst) return added;
  const tokens = added.tokens.map((other) =>
    other === token ? { ...token, takenBy: machine.publicKey } : other,
  );
  return { ...added, tokens };
}

/**
 * Cancels a token that this device issued: a machine that registers with it does not become a target. Copies of the token
 * stay where they are.
 *
 * @returns the same document if there is no such token, or it was taken or cancelled before
 */
export function cancelToken(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  const token = findIssued(document, id);
  if (token === undefined || token.cancelledAt !== null || token.takenBy !== null) return document;
  const tokens = document.tokens.map((other) =>
    other === token ? { ...token, cancelledAt: nowSeconds } : other,
  );
  return { ...document, tokens };
}
