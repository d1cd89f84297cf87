import { isDeviceId } from '../../core/wire/credentials';
import { MAX_FORMER_IDS } from './entry';
import { hasMembers, isCount, isListOf, isText } from './members';
import { isCover } from './prefix';
import type { Grant, IssuedToken, TakenToken } from './tokens';

/** The JSON of a head; see docs/protocol.md, "The allow list". */
export interface HeadJson {
  readonly revision: number;
  readonly version: 2;
  readonly list: string;
  readonly owner: string;
  readonly was?: readonly string[];
  readonly succession?: string;
  readonly updatedAt: number;
  readonly hosts: readonly string[];
  readonly tokens: readonly (IssuedToken | TakenToken)[];
  readonly grants: readonly Grant[];
  readonly joins: readonly unknown[];
  readonly targets: readonly (readonly [string, string])[];
  readonly ended: readonly (readonly [string, number])[];
  readonly recent: readonly { readonly id: string; readonly revokedAt: number; readonly until: number }[];
  readonly pages: readonly (readonly [string, string | readonly unknown[]])[];
  readonly dropped: readonly (readonly [string, number])[];
  readonly seal: string;
}

const HEAD =
  'revision version list owner updatedAt hosts tokens grants joins targets ended recent pages dropped seal'.split(
    ' ',
  );
const HEAD_OPTIONS = ['was', 'succession'];
const TOKEN = 'kind id friendlyName hosts secret issuedAt expiresAt takenBy cancelledAt'.split(' ');
const TAKEN = 'kind id issuer takenAt until'.split(' ');
const GRANT = 'id publicKey names uses used leaseSeconds maxLeaseSeconds issuedAt expiresAt'.split(' ');

const SUCCESSION = /^[\w-]+\.[\w-]{86}\.[\w-]{86}$/;
const HASH = /^[A-Za-z0-9_-]{43}$/;

/**
 * Whether this version knows the form of a head. The seal proves that the owner wrote it, so an unknown member may limit
 * the trust in a device and must not be ignored.
 */
export function isHead(value: unknown): value is HeadJson {
  return (
    hasMembers(value, HEAD, HEAD_OPTIONS) &&
    value.version === 2 &&
    isCount(value.revision) &&
    value.revision > 0 &&
    isText(value.list) &&
    isText(value.owner) &&
    (!Object.hasOwn(value, 'was') || isFormer(value.was)) &&
    (!Object.hasOwn(value, 'succession') || isSuccession(value.succession)) &&
    isCount(value.updatedAt) &&
    isListOf(value.hosts, isText) &&
    isListOf(value.tokens, isToken) &&
    isListOf(value.grants, isGrant) &&
    Array.isArray(value.joins) &&
    isListOf(value.targets, isTarget) &&
    isAscending(value.targets.map(([authority]) => authority)) &&
    isListOf(value.ended, isEnded) &&
    isListOf(value.recent, isRecent) &&
    isListOf(value.pages, isPageJson) &&
    isCover(value.pages.map(([prefix]) => prefix)) &&
    isListOf(value.dropped, isDropped)
  );
}

function isFormer(value: unknown): value is readonly string[] {
  return isListOf(value, isText) && value.length <= MAX_FORMER_IDS && value.every(isDeviceId);
}

/** Checks only the form, since the owner sealed the statement. */
function isSuccession(value: unknown): value is string {
  return isText(value) && value.length <= 1024 && SUCCESSION.test(value);
}

function isToken(value: unknown): value is IssuedToken | TakenToken {
  if (hasMembers(value, TAKEN) && value.kind === 'taken') {
    const { id, issuer, takenAt, until } = value;
    return isText(id) && isText(issuer) && isCount(takenAt) && (until === null || isCount(until));
  }
  if (!hasMembers(value, TOKEN, ['scopes']) || value.kind !== 'issued') return false;
  const { id, friendlyName, secret, hosts, issuedAt, expiresAt, takenBy, cancelledAt, scopes = [] } = value;
  return (
    [id, friendlyName, secret].every(isText) &&
    isListOf(hosts, isText) &&
    isListOf(scopes, isText) &&
    isCount(issuedAt) &&
    isCount(expiresAt) &&
    (takenBy === null || isText(takenBy)) &&
    (cancelledAt === null || isCount(cancelledAt))
  );
}

function isGrant(value: unknown): value is Grant {
  if (!hasMembers(value, GRANT, ['scopes'])) return false;
  const { id, publicKey, names, scopes = [], ...numbers } = value;
  return (
    [id, publicKey, names].every(isText) && isListOf(scopes, isText) && Object.values(numbers).every(isCount)
  );
}

function isTarget(value: unknown): value is readonly [string, string] {
  return isPair(value) && isText(value[0]) && isText(value[1]) && isDeviceId(value[1]);
}

function isEnded(value: unknown): value is readonly [string, number] {
  return isPair(value) && isText(value[0]) && isCount(value[1]);
}

function isRecent(value: unknown): value is HeadJson['recent'][number] {
  if (!hasMembers(value, ['id', 'revokedAt', 'until'])) return false;
  return isText(value.id) && isDeviceId(value.id) && isCount(value.revokedAt) && isCount(value.until);
}

function isPageJson(value: unknown): value is HeadJson['pages'][number] {
  return isPair(value) && isText(value[0]) && (isHash(value[1]) || Array.isArray(value[1]));
}

function isDropped(value: unknown): value is readonly [string, number] {
  return isPair(value) && isHash(value[0]) && isCount(value[1]);
}

function isHash(value: unknown): value is string {
  return isText(value) && HASH.test(value);
}

function isPair(value: unknown): value is readonly [unknown, unknown] {
  return Array.isArray(value) && value.length === 2;
}

/** Whether texts are sorted, without duplicates. */
function isAscending(texts: readonly string[]): boolean {
  return texts.every((text, i) => i === 0 || (texts[i - 1] as string) < text);
}
