import { createHash, randomBytes } from 'node:crypto';
import { type PrivateJwk, type Signer, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An issuer of tokens, with its key at hand. */
export interface Issuer {
  readonly jwk: PrivateJwk;
  readonly signer: Signer;
  readonly deviceId: string;
  readonly publicKey: string;
}

export async function newIssuer(): Promise<Issuer> {
  const jwk = await nodeCrypto.generatePrivateKey();
  const signer = await nodeCrypto.importPrivateKey(jwk);
  // "Ids" in docs/protocol.md.
  const deviceId = `am_${createHash('sha256').update(signer.publicKey).digest().subarray(0, 12).toString('base64url')}`;
  return { jwk, signer, deviceId, publicKey: toBase64Url(signer.publicKey) };
}

/** The claims of a right provision token of now. */
export function provisionClaims({ deviceId, publicKey }: Issuer): Record<string, unknown> {
  const iat = Math.floor(Date.now() / 1000);
  return {
    iss: deviceId,
    key: publicKey,
    name: 'laptop',
    hosts: [],
    iat,
    exp: iat + 3600,
    jti: randomBytes(16).toString('base64url'),
    target: 'prod-server',
    secret: randomBytes(32).toString('base64url'),
  };
}

/** The claims of a right grant token of now. */
export async function grantClaims({ deviceId, publicKey }: Issuer): Promise<Record<string, unknown>> {
  const { target: _, secret: __, ...common } = provisionClaims({ deviceId, publicKey } as Issuer);
  const { kty, crv, x, y, d } = await nodeCrypto.generatePrivateKey();
  return { ...common, callers: 'worker-*', jwk: { kty, crv, x, y, d } };
}

/** What a token says, unchecked. */
// biome-ignore lint/suspicious/noExplicitAny: each kind of token has claims of its own
export function claimsOf(token: string): Record<string, any> {
  return JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
}

export interface Forging {
  readonly header?: Record<string, unknown>;
  /** Signs with this key and not with the issuer's. */
  readonly signer?: Signer;
}

/** A token as its issuer, or somebody else, could make it. */
export async function forge(
  issuer: Issuer,
  claims: Record<string, unknown>,
  { header, signer = issuer.signer }: Forging = {},
): Promise<string> {
  const input = `${encode(header ?? { alg: 'ES256', typ: 'amesh-provision+jwt' })}.${encode(claims)}`;
  return `${input}.${toBase64Url(await signer.sign(Buffer.from(input)))}`;
}

export const GRANT_HEADER = Object.freeze({ alg: 'ES256', typ: 'amesh-grant+jwt' });

/** A token with other claims or another header under its old signature. */
export function swapPart(
  token: string,
  part: 0 | 1,
  change: (value: Record<string, unknown>) => object,
): string {
  const parts = token.split('.');
  const value = JSON.parse(Buffer.from(parts[part] as string, 'base64url').toString());
  parts[part] = encode(change(value));
  return parts.join('.');
}
