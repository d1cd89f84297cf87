import type { Device } from '../../trust/device';
import { findTaken, takeProvision } from '../../trust/tokens';
import { assertTimely } from '../tokens/read-token';
import type { ProvisionClaims } from '../tokens/token';

/** The machine that takes a token. */
export interface Taker {
  /** null where there is no identity yet. */
  readonly open: () => Promise<Device | null>;
  /** Makes an identity, or finds the one that another process has made meanwhile. */
  readonly create: (friendlyName: string) => Promise<Device>;
}

/**
 * Takes a provision token on the machine that it is for: makes an identity where there is none, and trusts the issuer.
 * Any number of processes may do so at once: one of them takes it.
 *
 * @returns the issuer's name in the list; null where this machine has taken the token before
 * @throws AmeshError as `assertTimely` and `takeProvision`, and of the key backend
 */
export async function takeProvisionToken(claims: ProvisionClaims, taker: Taker): Promise<string | null> {
  const opened = await taker.open();
  if (opened !== null && findTaken(await opened.trust.read(), claims.jti) !== undefined) return null;
  assertTimely({ kind: 'provision', claims }, Math.floor(Date.now() / 1000)); // before anything is written
  const { trust } = opened ?? (await taker.create(claims.target));
  const provision = {
    id: claims.jti,
    issuedAt: claims.iat,
    controller: { deviceId: claims.iss, publicKey: claims.key, friendlyName: claims.name },
    hosts: claims.hosts,
  };
  let isNew = false;
  const { devices } = await trust.update((document) => {
    const changed = takeProvision(document, provision, Math.floor(Date.now() / 1000));
    isNew = changed !== document;
    return changed;
  });
  if (!isNew) return null;
  return devices.find(({ deviceId }) => deviceId === claims.iss)?.friendlyName ?? claims.name;
}
