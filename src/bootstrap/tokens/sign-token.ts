import type { Signer } from '../../core/crypto/provider';
import { toBase64Url, toUtf8 } from '../../core/encoding';
import { type GrantClaims, type ProvisionClaims, TOKEN_LIMITS, TOKEN_TYPES, type TokenKind } from './token';

/**
 * Signs claims as a compact JWS. No library accepts a signer without access to its key, so this is our own code. The signed
 * text begins with the base64url of the header, unlike anything else that a device key signs.
 *
 * @throws TypeError if the token would exceed the limit
 * @see RFC 7515 section 5.1
 */
export async function signToken(
  kind: TokenKind,
  claims: ProvisionClaims | GrantClaims,
  signer: Signer,
): Promise<string> {
  const header = encode({ alg: 'ES256', typ: TOKEN_TYPES[kind] });
  const input = `${header}.${encode(claims)}`;
  const token = `${input}.${toBase64Url(await signer.sign(toUtf8(input)))}`;
  if (token.length > TOKEN_LIMITS.characters)
    throw new TypeError('The names, hosts and scopes are too long for a token.');
  return token;
}

function encode(value: object): string {
  return toBase64Url(toUtf8(JSON.stringify(value)));
}
