import { toBase64Url, toUtf8 } from '../encoding';

/**
 * The two kinds of statements about a working key, by the `typ` in their header. A statement of one kind is never accepted as the
 * other kind.
 *
 * @see docs/protocol.md, "Working keys"
 */
export const STATEMENT_TYPES = /* @__PURE__ */ Object.freeze({
  /** The key signs requests. */
  request: 'amesh-request-key+jwt',
  /** The key signs answers. */
  answer: 'amesh-answer-key+jwt',
});

export type StatementKind = keyof typeof STATEMENT_TYPES;

/** The limits of statements. */
export const STATEMENT_LIMITS = /* @__PURE__ */ Object.freeze({
  /** A usual statement has about 520 characters. */
  characters: 1024,
  /** The longest life of a request key, in seconds. */
  requestSeconds: 86_400,
  /** The longest life of an answer key, in seconds: 90 days. */
  answerSeconds: 7_776_000,
  /** How far `iat` is set back, in seconds, since one statement goes to servers with different clocks. */
  backdatedSeconds: 300,
  /** The most scopes of a delegation. */
  scopes: 16,
  /** The most targets of a delegation. */
  targets: 16,
});

/** The longest life of a key of one kind, in seconds. */
export function longestLife(kind: StatementKind): number {
  return kind === 'request' ? STATEMENT_LIMITS.requestSeconds : STATEMENT_LIMITS.answerSeconds;
}

/** What a working key may do for its device. Without a delegation, it may do all that the device may. */
export interface Delegation {
  /** The name of the delegate: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** 1 to 16 scopes, sorted, each once: `orders:read`, `orders:*` or `*`. */
  readonly scopes: readonly string[];
  /** The device IDs of 1 to 16 targets, sorted, each once. */
  readonly targets: readonly string[];
}

/** What a device says about a working key. */
export interface StatementClaims {
  readonly kind: StatementKind;
  /** The ID of the device whose key signs the statement. */
  readonly deviceId: string;
  /** The coordinates of the working key, 32 bytes each in base64url. */
  readonly x: string;
  readonly y: string;
  /** Unix seconds: from when on the key may sign, and until when. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** 16 random bytes in base64url. The ID by which a delegation is revoked. */
  readonly id: string;
  readonly delegation?: Delegation | undefined;
}

/**
 * The text that the device key signs: header and claims of a compact JWS. Each meaning has exactly one text. It begins with
 * `eyJ`, unlike a request, a list or a message of pairing.
 *
 * @see RFC 7515 section 5.1, RFC 7800 section 3.2
 */
export function toStatementInput(claims: StatementClaims): string {
  const { kind, deviceId: iss, x, y, issuedAt: iat, expiresAt: exp, id: jti, delegation } = claims;
  const jwk = { kty: 'EC', crv: 'P-256', x, y };
  const lent = delegation && {
    sub: delegation.name,
    scope: delegation.scopes.join(' '),
    aud: delegation.targets,
  };
  const payload = { iss, cnf: { jwk }, iat, exp, jti, ...lent };
  return `${encode({ alg: 'ES256', typ: STATEMENT_TYPES[kind] })}.${encode(payload)}`;
}

function encode(value: object): string {
  return toBase64Url(toUtf8(JSON.stringify(value)));
}
