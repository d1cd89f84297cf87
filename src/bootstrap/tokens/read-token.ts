import { cryptoProvider } from '#crypto';
import { toSpki } from '../../core/crypto/points';
import type { PrivateJwk } from '../../core/crypto/provider';
import { deviceIdOf } from '../../core/devices/allow-list';
import { isScopePattern } from '../../core/devices/scopes';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { momentText } from '../../core/moment';
import { hasExactly, type JsonObject, parseExactObject } from '../../core/strict-json';
import { normalizeAuthority } from '../../core/wire/authority';
import { isNonce } from '../../core/wire/credentials';
import { toRelayUrl } from '../../pairing/relay/url';
import { flawOf } from '../../process/environment';
import { cleanName } from '../../trust/names';
import { toScopes } from '../../trust/rights/scopes';
import { BOOTSTRAP_CODES } from '../errors/codes';
import { isNamePattern } from './names';
import {
  type GrantClaims,
  type ProvisionClaims,
  TOKEN_LIMITS,
  TOKEN_TYPES,
  type Token,
  type TokenKind,
} from './token';

/**
 * The kind that a token claims, without any proof.
 *
 * @returns null for an unknown kind
 */
export function kindOf(text: string): TokenKind | null {
  const typ = text.length > TOKEN_LIMITS.characters ? undefined : jsonOf(text.split('.', 1)[0] ?? '')?.typ;
  return typ === TOKEN_TYPES.provision ? 'provision' : typ === TOKEN_TYPES.grant ? 'grant' : null;
}

/**
 * Reads a token and verifies that its issuer signed it. {@link assertTimely} checks its times separately, since an expired token
 * that was taken before is not an error.
 *
 * @throws AmeshError `token_malformed`, `token_wrong_algorithm`, `token_wrong_type`, `token_wrong_issuer`,
 *   `token_invalid_signature`; none of them contains any part of the token
 * @see RFC 7515 section 7.1, RFC 8725
 */
export async function readToken(text: string): Promise<Token> {
  if (text.length > TOKEN_LIMITS.characters)
    throw new AmeshError(
      BOOTSTRAP_CODES.token_malformed,
      `The token is longer than ${TOKEN_LIMITS.characters} characters.`,
    );
  const flaw = flawOf(text);
  if (flaw !== undefined) throw malformed(`It ${flaw[1]}`, flaw[2]);
  const parts = text.split('.');
  const header = parts.length === 3 ? jsonOf(parts[0] as string) : null;
  if (header === null) throw new AmeshError(BOOTSTRAP_CODES.token_malformed);
  if (header.alg !== 'ES256') throw new AmeshError(BOOTSTRAP_CODES.token_wrong_algorithm);
  const kind = kindOf(text);
  if (kind === null) throw new AmeshError(BOOTSTRAP_CODES.token_wrong_type);
  if (!hasExactly(header, ['alg', 'typ'])) throw malformed('Its header has unknown members.');
  const claims = jsonOf(parts[1] as string);
  if (claims === null) throw malformed('Its claims are not a JSON object.');

  const key = await readIssuer(claims);
  await verify(text, key);
  if (kind === 'provision' && isProvision(claims)) return { kind, claims };
  if (kind === 'grant' && isGrant(claims) && (await isKeyPair(claims.jwk))) return { kind, claims };
  throw malformed('Its claims do not fit this kind of token.');
}

/**
 * @throws AmeshError `token_lifetime_too_long`, `token_not_yet_valid`, `token_expired`
 */
export function assertTimely({ claims }: Token, nowSeconds: number): void {
  const { iat, exp } = claims;
  if (exp <= iat || exp - iat > TOKEN_LIMITS.lifetimeSeconds)
    throw new AmeshError(BOOTSTRAP_CODES.token_lifetime_too_long);
  if (iat > nowSeconds + TOKEN_LIMITS.clockSkewSeconds) {
    const from = momentText((iat - TOKEN_LIMITS.clockSkewSeconds) * 1000);
    throw new AmeshError(
      BOOTSTRAP_CODES.token_not_yet_valid,
      `The token was issued ${iat - nowSeconds} s in the future, by this machine's clock. It is valid from ${from}.`,
    );
  }
  if (nowSeconds >= exp)
    throw new AmeshError(BOOTSTRAP_CODES.token_expired, `The token expired ${nowSeconds - exp} s ago.`);
}

/** The issuer's key in the token. It must match the issuer's device ID. */
async function readIssuer({ iss, key }: JsonObject): Promise<Uint8Array> {
  const point = typeof key === 'string' && key.length === 44 ? fromBase64Url(key) : null;
  if (point === null || typeof iss !== 'string') throw malformed('It has no issuer.');
  try {
    await cryptoProvider.importPublicKey(point);
  } catch {
    throw malformed("Its issuer's key is not a point on the P-256 curve.");
  }
  if ((await deviceIdOf(point, cryptoProvider)) !== iss)
    throw new AmeshError(BOOTSTRAP_CODES.token_wrong_issuer);
  return point;
}

async function verify(text: string, point: Uint8Array): Promise<void> {
  const { compactVerify, errors } = await import('jose'); // most processes never see a token
  const key = await crypto.subtle.importKey(
    'spki',
    toSpki(point),
    { name: 'ECDSA', namedCurve: 'P-256' },
    false,
    ['verify'],
  );
  try {
    await compactVerify(text, key, { algorithms: ['ES256'] });
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed)
      throw new AmeshError(BOOTSTRAP_CODES.token_invalid_signature);
    throw new AmeshError(BOOTSTRAP_CODES.token_malformed); // without the cause, which may contain the token
  }
}

function isProvision(claims: JsonObject): claims is JsonObject & ProvisionClaims {
  const { target, secret, relay, scopes, ...common } = claims;
  return (
    isCommon(common) &&
    isName(target) &&
    isBytes(secret, 32) &&
    (!('relay' in claims) || isRelay(relay)) &&
    (!('scopes' in claims) || isScopes(scopes))
  );
}

function isGrant(claims: JsonObject): claims is JsonObject & GrantClaims {
  const { callers, jwk, proves, ...common } = claims;
  const isRight = !('proves' in claims) || proves === false;
  return isRight && isCommon(common) && isNamePattern(callers) && isPrivateJwk(jwk);
}

function isCommon(claims: JsonObject): boolean {
  const { name, hosts, iat, exp, jti } = claims;
  return (
    hasExactly(claims, ['exp', 'hosts', 'iat', 'iss', 'jti', 'key', 'name']) &&
    isName(name) &&
    Array.isArray(hosts) &&
    hosts.length <= TOKEN_LIMITS.hosts &&
    hosts.every((host) => typeof host === 'string' && normalizeAuthority(host) === host) &&
    [iat, exp].every((time) => Number.isSafeInteger(time) && (time as number) >= 0) &&
    typeof jti === 'string' &&
    isNonce(jti)
  );
}

function isName(value: unknown): boolean {
  return typeof value === 'string' && cleanName(value) === value;
}

function isRelay(value: unknown): boolean {
  try {
    return typeof value === 'string' && toRelayUrl(value) === value;
  } catch {
    return false;
  }
}

/** Whether a value is a list of at least one scope, in the only form that has this meaning. */
function isScopes(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0 || value.length > TOKEN_LIMITS.scopes) return false;
  if (!value.every(isScopePattern)) return false;
  const scopes = toScopes(value);
  return scopes.length === value.length && scopes.every((scope, i) => scope === value[i]);
}

function isPrivateJwk(value: unknown): value is PrivateJwk {
  if (typeof value !== 'object' || value === null) return false;
  const jwk = value as JsonObject;
  return (
    hasExactly(jwk, ['crv', 'd', 'kty', 'x', 'y']) &&
    jwk.kty === 'EC' &&
    jwk.crv === 'P-256' &&
    [jwk.x, jwk.y, jwk.d].every((part) => isBytes(part, 32))
  );
}

async function isKeyPair(jwk: PrivateJwk): Promise<boolean> {
  try {
    await cryptoProvider.importPrivateKey(jwk);
    return true;
  } catch {
    return false;
  }
}

function isBytes(value: unknown, length: number): boolean {
  return (
    typeof value === 'string' && value.length === Math.ceil((length * 4) / 3) && fromBase64Url(value) !== null
  );
}

/** Parses a part of a token as an object; null for any other text, and for JSON in another form than the accepted one. */
function jsonOf(part: string): JsonObject | null {
  const bytes = fromBase64Url(part);
  return bytes === null ? null : parseExactObject(bytes);
}

function malformed(why: string, fix?: string): AmeshError {
  const detail = `This is not an amesh bootstrap token. ${why}`;
  return new AmeshError(BOOTSTRAP_CODES.token_malformed, detail, { fix });
}
