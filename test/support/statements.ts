import { type RequestSigner, type Signer, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { toLowS } from '../../src/core/crypto/low-s';
import { type StatementClaims, toStatementInput } from '../../src/core/statements/statement';
import { NOW, signerOf } from './core';
import { vectors } from './vectors';

/** A delegation of `orders:read` at the vectors' target. */
export const LENT = {
  name: 'report-agent',
  scopes: ['orders:read'],
  targets: [vectors.devices.target.deviceId],
};

/** A new working key of the vectors' controller. */
export interface Worker {
  /** Signs requests with the working key. */
  readonly signer: Signer;
  readonly requestSigner: RequestSigner;
  readonly claims: StatementClaims;
}

/**
 * Makes a working key, and has a device sign the statement about it.
 *
 * @param changes claims that differ from those of a usual statement, signed at {@link NOW}
 * @param device a device of the vectors, or the signer of the one that `changes` names
 */
export async function workerOf(
  changes: Partial<StatementClaims> = {},
  device: keyof typeof vectors.devices | Signer = 'controller',
): Promise<Worker> {
  const jwk = await nodeCrypto.generatePrivateKey();
  const worker = await nodeCrypto.importPrivateKey(jwk);
  const claims: StatementClaims = {
    kind: 'request',
    deviceId: vectors.devices[typeof device === 'string' ? device : 'controller'].deviceId,
    x: jwk.x,
    y: jwk.y,
    issuedAt: NOW - 300,
    expiresAt: NOW + 3300,
    id: toBase64Url(nodeCrypto.randomBytes(16)),
    ...changes,
  };
  const by = typeof device === 'string' ? await signerOf(device) : device;
  const statement = await signStatement(claims, by);
  const { deviceId } = claims;
  const requestSigner = { publicKey: worker.publicKey, sign: worker.sign, deviceId, statement };
  return { signer: { ...worker, requestSigner: () => requestSigner }, requestSigner, claims };
}

/** The text of a statement, signed by a device. */
export async function signStatement(claims: StatementClaims, device: Signer): Promise<string> {
  const input = toStatementInput(claims);
  return `${input}.${toBase64Url(toLowS(await device.sign(new TextEncoder().encode(input))))}`;
}
