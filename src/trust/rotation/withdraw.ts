import type { Rotation } from '../../core/rotation/rotation';
import { COMEBACK_SECONDS, type ListDraft } from '../format/draft';
import type { DeviceEntry, DeviceLine, Tombstone } from '../format/entry';
import { buryAll, chainOf, currentOf, nextEntryOf } from './chain';
import { ON_ITS_WAY_SECONDS } from './successor';

/**
 * What a list says about a next key after its withdrawal. `withdrawn`: it may not call. `accepted`, `waiting`: it is in the list as
 * another device. `refused`: it is no next key of the device, so nothing was changed.
 */
export type Withdrawn = 'withdrawn' | 'accepted' | 'waiting' | 'refused';

/**
 * Takes back a successor, because a key before it says so. It may have been accepted already. All keys that have followed the key
 * that says so go, whichever of them is named: a thief may have replaced the key more than once, and the owner has heard of the last
 * one. The device gets the rights back, as they are now.
 *
 * @returns whether there was such a successor
 */
export async function withdrawSuccessor(
  draft: ListDraft,
  formerId: string,
  nextId: string,
  nowSeconds: number,
): Promise<boolean> {
  const former = await draft.device(formerId);
  const first = former && (await nextEntryOf(draft, former));
  if (former === undefined || first === undefined) return false;
  const { next: _, retiresAt, ...device } = former;
  if (retiresAt !== undefined && retiresAt < nowSeconds) return false;
  const before = new Set([formerId, ...(former.was ?? [])]);
  const later = (await chainOf(draft, first.deviceId)).filter((id) => !before.has(id));
  if (!later.includes(nextId)) return false;
  if (retiresAt === undefined) await draft.put(device);
  else {
    const last = await draft.device(await currentOf(draft, formerId));
    if (last === undefined || !last.roles.includes('controller')) return false;
    await draft.put(withRightsOf(last, device));
  }
  await buryAll(draft, later, nowSeconds);
  return true;
}

/** A device that calls again, with the rights of the key that had replaced its own. */
function withRightsOf(
  { friendlyName, addedAt, scopes, expiresAt, lease, keysSince }: DeviceEntry,
  device: DeviceEntry,
): DeviceEntry {
  return {
    ...device,
    friendlyName,
    addedAt,
    roles: ['controller', ...device.roles],
    ...(scopes && { scopes }),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(lease && { lease }),
    ...(keysSince !== undefined && { keysSince }),
  };
}

/**
 * Takes back a successor by its ID alone. Anybody can name any ID, so what the list says about other devices is not told.
 */
export async function withdrawById(
  draft: ListDraft,
  formerId: string,
  nextId: string,
  nowSeconds: number,
): Promise<Withdrawn> {
  if (await withdrawSuccessor(draft, formerId, nextId, nowSeconds)) return 'withdrawn';
  return (await draft.tombstone(nextId)) === undefined ? 'refused' : 'withdrawn';
}

/**
 * Takes back a statement of both keys. If the successor is not in the list, it is remembered as if it had been revoked: the request
 * with the statement may still arrive. Both keys have signed the statement, so nobody can keep another person's key out of the list
 * by that. A key that an administrator has added as a device of its own stays.
 */
export async function withdrawStatement(
  draft: ListDraft,
  { formerId, nextId }: Pick<Rotation, 'formerId' | 'nextId'>,
  nowSeconds: number,
): Promise<Withdrawn> {
  if (await withdrawSuccessor(draft, formerId, nextId, nowSeconds)) return 'withdrawn';
  const known = await draft.find(nextId);
  if (known?.kind === 'device') return stateOf(known.device, nowSeconds);
  if (known?.kind === 'foreign') return 'refused'; // a newer version may know its algorithm
  const former = await draft.device(formerId);
  const hasOther = former !== undefined && (await nextEntryOf(draft, former)) !== undefined;
  if (known === undefined) await buryAll(draft, [nextId], nowSeconds);
  // Not while another key is named: a thief who takes the owner's key back again and again would never be found out.
  else if (!hasOther) await buryAgain(draft, known.tombstone, nowSeconds);
  return 'withdrawn';
}

/** What a list says about a device that stays. An end in the past may be moved, so such a device counts. */
function stateOf({ pending, roles, retiresAt }: DeviceLine, nowSeconds: number): Withdrawn {
  if (pending) return 'waiting';
  const mayCall = roles.includes('controller') || (retiresAt !== undefined && retiresAt >= nowSeconds);
  return mayCall ? 'accepted' : 'withdrawn';
}

/** A key may have been refused long before it is taken back, and its device has sent the statement until then. */
async function buryAgain(draft: ListDraft, tombstone: Tombstone, nowSeconds: number): Promise<void> {
  if (tombstone.conflict !== undefined || tombstone.revokedAt + ON_ITS_WAY_SECONDS / 3 > nowSeconds) return;
  const until = Math.max(tombstone.until, nowSeconds + COMEBACK_SECONDS);
  await draft.bury({ ...tombstone, revokedAt: nowSeconds, until });
}
