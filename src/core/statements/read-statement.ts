import { isLowS } from '../crypto/low-s';
import { isOnCurve, toPoint } from '../crypto/points';
import { isScopePattern } from '../devices/scopes';
import { fromBase64Url } from '../encoding';
import { parseObject } from '../strict-json';
import { isDeviceId, isNonce } from '../wire/credentials';
import {
  type Delegation,
  longestLife,
  STATEMENT_LIMITS,
  type StatementClaims,
  type StatementKind,
  toStatementInput,
} from './statement';

/** A statement that has the right form. Nothing of it is proven yet. */
export interface Statement extends StatementClaims {
  /** The working key: a compressed point, 33 bytes, on the curve. */
  readonly publicKey: Uint8Array;
  /** The text that the device key signed. */
  readonly input: string;
  /** 64 bytes, r‖s, with the low s. */
  readonly signature: Uint8Array;
}

/**
 * Reads a statement of one kind, as strictly as tokens are read: its text must be the one that {@link toStatementInput}
 * makes of its claims.
 *
 * @returns null for any other text
 */
export function readStatement(text: string, kind: StatementKind): Statement | null {
  if (text.length > STATEMENT_LIMITS.characters) return null;
  const parts = text.split('.');
  const [, payload = '', tail = ''] = parts;
  const signature = parts.length === 3 && tail.length === 86 ? fromBase64Url(tail) : null;
  const bytes = signature === null ? null : fromBase64Url(payload);
  const claims = bytes === null ? null : toClaims(parseObject(bytes) ?? {}, kind);
  if (signature === null || claims === null || !isLowS(signature)) return null;
  const input = toStatementInput(claims);
  // This text has nothing unknown or doubled, in one order and one spelling: any other text differs from it.
  if (`${input}.${tail}` !== text || !isOnCurve(claims)) return null;
  return { ...claims, publicKey: toPoint(claims), input, signature };
}

type Untrusted = { readonly [name: string]: unknown };

function toClaims(payload: Untrusted, kind: StatementKind): StatementClaims | null {
  const { iss: deviceId, cnf, iat: issuedAt, exp: expiresAt, jti: id } = payload;
  const { x, y } = ((cnf as Untrusted | null | undefined)?.jwk ?? {}) as Untrusted;
  if (!isText(deviceId) || !isDeviceId(deviceId) || !isText(id) || !isNonce(id)) return null;
  if (!isText(x) || !isText(y) || !isSeconds(issuedAt) || !isSeconds(expiresAt)) return null;
  const delegation = 'sub' in payload ? toDelegation(payload) : undefined;
  if (delegation === null || (delegation !== undefined && kind !== 'request')) return null;
  const lifeSeconds = expiresAt - issuedAt;
  if (lifeSeconds <= 0 || lifeSeconds > longestLife(kind)) return null;
  return { kind, deviceId, x, y, issuedAt, expiresAt, id, delegation };
}

function toDelegation({ sub: name, scope, aud: targets }: Untrusted): Delegation | null {
  if (!isText(name) || !isDelegateName(name) || !isText(scope)) return null;
  const scopes = scope.split(' ');
  if (scopes.length > STATEMENT_LIMITS.scopes || !scopes.every(isScopePattern) || !isSorted(scopes))
    return null;
  if (!Array.isArray(targets) || targets.length === 0 || targets.length > STATEMENT_LIMITS.targets)
    return null;
  if (!targets.every((target) => isText(target) && isDeviceId(target)) || !isSorted(targets)) return null;
  return { name, scopes, targets };
}

/** Whether a text can be the name of a delegate: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
export function isDelegateName(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text);
}

/** Whether texts are in ascending order, and none is there twice. */
function isSorted(texts: readonly string[]): boolean {
  return texts.every((text, i) => i === 0 || (texts[i - 1] as string) < text);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** Unix seconds up to the year 5138. */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 1e11;
}
