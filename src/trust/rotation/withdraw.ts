import type { Rotation } from '../../core/rotation/rotation';
import type { ListDraft } from '../format/draft';
import { COMEBACK_SECONDS } from '../format/ended';
import type { DeviceEntry, DeviceLine, Tombstone } from '../format/entry';
import { buryAll, chainOf, currentOf, followersOf, nextEntryOf } from './chain';
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
  if (former === undefined) return false;
  const later = await laterThan(draft, former);
  if (!later.includes(nextId)) return false;
  const { retiresAt, ...rest } = former;
  if (retiresAt !== undefined && retiresAt < nowSeconds) return false;
  const device = { ...rest, next: nextId }; // remembers the key, to say the same if it is asked again
  if (retiresAt === undefined) await draft.put(device);
  else {
    const last = await draft.device(await currentOf(draft, formerId));
    if (last === undefined || !last.roles.includes('controller')) return false;
    await draft.put(withRightsOf(last, device));
  }
  await buryAll(draft, later, nowSeconds);
  return true;
}

/**
 * The IDs of all keys that a device has had after this one, even of those whose entries have left the list. In lists of earlier
 * versions, a key that came before this one may have followed it.
 */
async function laterThan(draft: ListDraft, former: DeviceEntry): Promise<string[]> {
  const following = await followersOf(draft, former);
  const [first] = following;
  if (first === undefined) return [];
  const before = new Set(former.was);
  for (const id of following) before.delete(id);
  before.add(former.deviceId);
  return (await chainOf(draft, first)).filter((id) => !before.has(id));
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
 * Takes back a successor by its ID alone. Anybody can name any ID, so what the list says about other devices is not told, not even
 * that they were revoked.
 */
export async function withdrawById(
  draft: ListDraft,
  formerId: string,
  nextId: string,
  nowSeconds: number,
): Promise<Withdrawn> {
  if (await withdrawSuccessor(draft, formerId, nextId, nowSeconds)) return 'withdrawn';
  return (await hasEnded(draft, formerId, nextId)) ? 'withdrawn' : 'refused';
}

/**
 * Whether a key was the next one of a device, and was withdrawn or refused. The entry of the device names one such key, and those
 * that were withdrawn with it have the same time.
 */
async function hasEnded(draft: ListDraft, formerId: string, nextId: string): Promise<boolean> {
  const { next = '' } = (await draft.device(formerId)) ?? {};
  const [asked, last] = [await draft.tombstone(nextId), await draft.tombstone(next)];
  return asked !== undefined && asked.revokedAt === last?.revokedAt;
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
  if (known?.kind === 'foreign') return 'refused'; // a newer version may know its algorithm
  const former = await draft.device(formerId);
  if (known?.kind === 'device') {
    const isOwn = former !== undefined && (await isSameDevice(draft, former, nextId));
    return isOwn ? 'refused' : stateOf(known.device, nowSeconds);
  }
  const hasOther = former !== undefined && (await nextEntryOf(draft, former)) !== undefined;
  if (known === undefined) await buryAll(draft, [nextId], nowSeconds);
  // Not while another key is named: a thief who takes the owner's key back again and again would never be found out.
  else if (!hasOther) await buryAgain(draft, known.tombstone, nowSeconds);
  return 'withdrawn';
}

/** Whether one of two keys has followed the other one. */
async function isSameDevice(draft: ListDraft, former: DeviceEntry, otherId: string): Promise<boolean> {
  if ((await followersOf(draft, former)).includes(otherId)) return true;
  const other = await draft.device(otherId);
  return other !== undefined && (await followersOf(draft, other)).includes(former.deviceId);
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
