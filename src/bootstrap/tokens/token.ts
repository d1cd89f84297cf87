import type { PrivateJwk } from '../../core/crypto/provider';

/** The two kinds of bootstrap token, by the `typ` of their header. */
export const TOKEN_TYPES = Object.freeze({
  /** For a machine that receives requests: it trusts the issuer. */
  provision: 'amesh-provision+jwt',
  /** For machines that are to call: they put themselves into the issuer's list. */
  grant: 'amesh-grant+jwt',
});

export type TokenKind = keyof typeof TOKEN_TYPES;

/** What every token says of its issuer and itself. */
interface CommonClaims {
  /** The issuer's deviceId. */
  readonly iss: string;
  /** The issuer's public key, 33 bytes in base64url. */
  readonly key: string;
  /** The issuer's name. */
  readonly name: string;
  /** At which authorities the target of the two is called, in normal form. */
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
  /** What the machine is to be called. */
  readonly target: string;
  /** 32 random bytes in base64url, with which it proves to the issuer that it has taken the token. */
  readonly secret: string;
  /** Where the issuer may be waiting for that. */
  readonly relay?: string;
}

/** The claims of a grant token: exactly these. */
export interface GrantClaims extends CommonClaims {
  /** What callers may be called; one `*` stands for anything. */
  readonly callers: string;
  /** A key pair of this grant alone, both halves. */
  readonly jwk: PrivateJwk;
}

export type Token =
  | { readonly kind: 'provision'; readonly claims: ProvisionClaims }
  | { readonly kind: 'grant'; readonly claims: GrantClaims };

/** The limits of tokens. */
export const TOKEN_LIMITS = Object.freeze({
  /** A usual one has some 600. */
  characters: 4096,
  lifetimeSeconds: 86_400,
  /** How far the issuer's clock may be ahead of ours. */
  clockSkewSeconds: 60,
  hosts: 16,
});
