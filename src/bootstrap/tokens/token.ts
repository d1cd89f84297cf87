import type { PrivateJwk } from '../../core/crypto/provider';

/** The two kinds of bootstrap tokens, by the `typ` in their header. */
export const TOKEN_TYPES = Object.freeze({
  /** For a machine that receives requests: it will trust the issuer. */
  provision: 'amesh-provision+jwt',
  /** For machines that send requests: they add themselves to the issuer's list. */
  grant: 'amesh-grant+jwt',
});

export type TokenKind = keyof typeof TOKEN_TYPES;

/** The claims of every token. */
interface CommonClaims {
  /** The issuer's device ID. */
  readonly iss: string;
  /** The issuer's public key, 33 bytes in base64url. */
  readonly key: string;
  /** The issuer's name. */
  readonly name: string;
  /** The authorities under which the target is called, in normal form. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly iat: number;
  /** Unix seconds, at most a day later. */
  readonly exp: number;
  /** 16 random bytes in base64url. */
  readonly jti: string;
}

/** The claims of a provision token: exactly these. */
export interface ProvisionClaims extends CommonClaims {
  /** The name for the machine. */
  readonly target: string;
  /** 32 random bytes in base64url. The machine uses it to prove to the issuer that it took the token. */
  readonly secret: string;
  /** What the issuer may do on the machine. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** The relay where the issuer may wait for that proof. */
  readonly relay?: string;
}

/** The claims of a grant token: exactly these. */
export interface GrantClaims extends CommonClaims {
  /** The names that callers may have; one `*` matches any text. */
  readonly callers: string;
  /** A key pair for this grant only, with its private key. */
  readonly jwk: PrivateJwk;
  /** False if the issuer cannot prove its answers. Absent: it can. */
  readonly proves?: false;
}

export type Token =
  | { readonly kind: 'provision'; readonly claims: ProvisionClaims }
  | { readonly kind: 'grant'; readonly claims: GrantClaims };

/** The limits of tokens. */
export const TOKEN_LIMITS = Object.freeze({
  /** The longest token, in characters. A usual one has about 600. */
  characters: 4096,
  /** How long a token may be valid, in seconds: a day. */
  lifetimeSeconds: 86_400,
  /** How far the issuer's clock may be ahead of ours, in seconds. */
  clockSkewSeconds: 60,
  /** The most hosts of a token. */
  hosts: 16,
  /** The most scopes of a token. */
  scopes: 16,
});
