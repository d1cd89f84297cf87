import { toLowS } from '../crypto/low-s';
import type { Signer } from '../crypto/provider';
import { toBase64Url, toUtf8 } from '../encoding';
import {
  longestLife,
  STATEMENT_LIMITS,
  type StatementClaims,
  type StatementKind,
  toStatementInput,
} from './statement';

/**
 * Signs a statement with a device key.
 *
 * @returns the statement, as it travels in AuthMesh-Key
 * @throws TypeError if the signer returns anything other than 64 bytes; what the signer throws
 */
export async function signStatement(claims: StatementClaims, signer: Signer): Promise<string> {
  const input = toStatementInput(claims);
  const signature = await signer.sign(toUtf8(input));
  if (signature.length !== 64) throw new TypeError('The signature of the signer is not 64 bytes long.');
  return `${input}.${toBase64Url(toLowS(signature))}`;
}

/**
 * When a statement that is made now begins and ends, in Unix seconds. It begins before now, for servers whose clock is behind,
 * unless its life would become too long.
 */
export function periodFrom(
  kind: StatementKind,
  nowMs: number,
  lifetimeSeconds: number,
  backdatedSeconds: number = STATEMENT_LIMITS.backdatedSeconds,
): { readonly issuedAt: number; readonly expiresAt: number } {
  const nowSeconds = Math.floor(nowMs / 1000);
  const expiresAt = nowSeconds + lifetimeSeconds;
  const earliest = expiresAt - longestLife(kind);
  return { issuedAt: Math.max(nowSeconds - backdatedSeconds, earliest), expiresAt };
}
