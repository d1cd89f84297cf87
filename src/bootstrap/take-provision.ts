import { isAmeshError } from '../core/errors';
import { openDevice } from '../trust/device';
import { FileStore } from '../trust/file-store';
import type { Env } from '../trust/home';
import { readIdentity } from '../trust/identity';
import { createIdentity } from '../trust/setup';
import { findTaken, takeProvision } from '../trust/tokens';
import { assertTimely } from './read-token';
import type { ProvisionClaims } from './token';

/**
 * Takes a provision token on the machine for which it is: makes an identity where there is none, and trusts the issuer.
 * As many processes as like may do so at once; one of them does it.
 *
 * @returns false where it was taken before, by whomever and however long ago
 * @throws AmeshError as `assertTimely` and `takeProvision`, and of the key backend
 */
export async function takeProvisionToken(claims: ProvisionClaims, dir: string, env: Env): Promise<boolean> {
  const identity = await readIdentity(new FileStore(dir));
  if (identity !== null) {
    const { trust } = await openDevice(dir, env);
    if (findTaken(await trust.read(), claims.jti) !== undefined) return false;
  }
  assertTimely({ kind: 'provision', claims }, Math.floor(Date.now() / 1000)); // before anything is written
  if (identity === null) {
    await createIdentity(dir, env, { friendlyName: claims.target }).catch((error) => {
      if (!isAmeshError(error) || error.code !== 'identity_exists') throw error; // another process was faster
    });
  }
  const provision = {
    id: claims.jti,
    issuedAt: claims.iat,
    controller: { deviceId: claims.iss, publicKey: claims.key, friendlyName: claims.name },
    hosts: claims.hosts,
  };
  let isNew = false;
  const { trust } = await openDevice(dir, env);
  await trust.update((document) => {
    const changed = takeProvision(document, provision, Math.floor(Date.now() / 1000));
    isNew = changed !== document;
    return changed;
  });
  return isNew;
}
