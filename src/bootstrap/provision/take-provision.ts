import type { Device } from '../../trust/device';
import type { DeviceEntry } from '../../trust/format/entry';
import { findTaken, takeProvision } from '../../trust/tokens';
import { assertTimely } from '../tokens/read-token';
import type { ProvisionClaims } from '../tokens/token';

/** The machine that takes a token. */
export interface Taker {
  /** Returns null if there is no identity yet. */
  readonly open: () => Promise<Device | null>;
  /** Creates an identity, or opens the one that another process created in the meantime. */
  readonly create: (friendlyName: string) => Promise<Device>;
}

/**
 * Takes a provision token on its machine: creates an identity if there is none, and trusts the issuer. Several processes
 * may do so at the same time; one of them takes it.
 *
 * @returns the issuer's entry in the list; null if this machine took the token before
 * @throws AmeshError like `assertTimely` and `takeProvision`, and of the key backend
 */
export async function takeProvisionToken(claims: ProvisionClaims, taker: Taker): Promise<DeviceEntry | null> {
  const opened = await taker.open();
  if (opened !== null && findTaken(await opened.trust.readHead(), claims.jti) !== undefined) return null;
  assertTimely({ kind: 'provision', claims }, Math.floor(Date.now() / 1000)); // before anything is written
  const { trust } = opened ?? (await taker.create(claims.target));
  const provision = {
    id: claims.jti,
    issuedAt: claims.iat,
    controller: { deviceId: claims.iss, publicKey: claims.key, friendlyName: claims.name },
    hosts: claims.hosts,
    scopes: claims.scopes,
  };
  const { result, isChanged } = await trust.update(async (draft) => {
    await takeProvision(draft, provision, Math.floor(Date.now() / 1000));
    return draft.device(claims.iss);
  });
  return isChanged ? (result ?? null) : null;
}
