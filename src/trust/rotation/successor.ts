import { equalBytes, fromBase64Url, toBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { ROTATION_LIMITS, type Rotation } from '../../core/rotation/rotation';
import { TRUST_CODES } from '../errors/codes';
import type { ListDraft } from '../format/draft';
import { COMEBACK_SECONDS, isPast } from '../format/ended';
import { type DeviceEntry, MAX_FORMER_IDS } from '../format/entry';
import { buryAll, chainOf, currentOf, nextEntryOf } from './chain';

/** Whether a machine accepts the next key of a caller: after an administrator has accepted it, automatically, or never. */
export type AcceptRotation = 'admin' | 'auto' | false;

/** What became of a successor. `revoked`: the key named two successors, so neither it nor they may call any more. */
export type Proposed = 'waiting' | 'accepted' | 'refused' | 'revoked';

/** How long a list says that a device was revoked because its key had named two next keys: 30 days. */
const CONFLICT_SECONDS = ROTATION_LIMITS.lifeSeconds;

/** How long a key stays refused: until no statement that names it counts any more. Until then, its device may still announce it. */
const REFUSED_SECONDS = ROTATION_LIMITS.lifeSeconds + ROTATION_LIMITS.aheadSeconds;

/**
 * For how long a request may still arrive that was signed before its statement was taken back: its time may be 5 minutes ahead, and
 * 5 minutes old. The rest is for clocks that differ.
 */
export const ON_ITS_WAY_SECONDS = 15 * 60;

/** How to judge a rotation. */
export interface RotationPolicy {
  readonly accept: AcceptRotation;
  /** Whether a key is known as a working key. Such a key is refused, so that what it signs keeps one meaning. */
  readonly isWorkingKey: (deviceId: string) => boolean;
  readonly nowSeconds: number;
}

/**
 * Records the next key of a caller. The same statement changes nothing a second time.
 *
 * @param rotation a statement whose signatures are right, in a request that the former key signed
 */
export async function proposeSuccessor(
  draft: ListDraft,
  rotation: Rotation,
  { accept, isWorkingKey, nowSeconds }: RotationPolicy,
): Promise<Proposed> {
  const { formerId, formerKey, nextId, nextKey } = rotation;
  const former = await draft.device(formerId);
  if (accept === false || former === undefined || former.pending) return 'refused';
  if (!equalBytes(fromBase64Url(former.publicKey) ?? new Uint8Array(), formerKey)) return 'refused';
  const found = await nextEntryOf(draft, former);
  const known = found?.pending && isPast(found, nowSeconds) ? undefined : found;
  if (known === undefined) {
    if (!former.roles.includes('controller') || isOver(former, nowSeconds)) return 'refused';
    if (rotation.issuedAt < (former.keysSince ?? 0)) return 'refused'; // its keys were cut off later
    if (isOwn(draft, nextId, nextKey) || isWorkingKey(nextId)) return 'refused';
    if ((await draft.find(nextId)) !== undefined) return 'refused'; // it is in the list, or was revoked
    if (former.was?.includes(nextId)) return 'refused'; // with it, somebody who has that former key would be the device again
    await addPending(draft, former, rotation, nowSeconds);
  } else if (former.next !== nextId) {
    const present = (await draft.device(await currentOf(draft, formerId))) ?? former;
    if (await isOutdated(draft, rotation, present, nowSeconds)) return 'refused';
    // Two machines have the same key. One of them belongs to a thief, and nobody here can tell which.
    const chain = await chainOf(draft, formerId);
    const { friendlyName: conflict } = present;
    await draft.bury({
      deviceId: formerId,
      revokedAt: nowSeconds,
      until: nowSeconds + CONFLICT_SECONDS,
      conflict,
    });
    await buryAll(draft, chain, nowSeconds);
    return 'revoked';
  } else if (!known.pending) return 'accepted';
  // An administrator may accept a key that was named before a cut.
  if (accept === 'admin' || rotation.issuedAt < (former.keysSince ?? 0)) return 'waiting';
  await acceptSuccessor(draft, nextId, nowSeconds);
  return 'accepted';
}

/**
 * Whether a statement about another next key is an old one: it is from before the keys of the device were cut, or it may have been
 * on its way when it was taken back or refused. Anybody can hold such a request back until there is another next key.
 */
async function isOutdated(
  draft: ListDraft,
  { nextId, issuedAt }: Rotation,
  { keysSince = 0 }: DeviceEntry,
  nowSeconds: number,
): Promise<boolean> {
  const { revokedAt = 0 } = (await draft.tombstone(nextId)) ?? {};
  return issuedAt < keysSince || nowSeconds <= revokedAt + ON_ITS_WAY_SECONDS;
}

async function addPending(
  draft: ListDraft,
  former: DeviceEntry,
  { nextId, nextKey }: Rotation,
  nowSeconds: number,
): Promise<void> {
  await draft.put({ ...former, next: nextId });
  await draft.put({
    deviceId: nextId,
    publicKey: toBase64Url(nextKey),
    friendlyName: former.friendlyName,
    roles: [],
    hosts: [],
    addedAt: nowSeconds,
    was: formerIdsOf(former),
    pending: true,
  });
}

/** A next key that waits for an administrator, and the device whose key it may replace. */
export interface PendingRotation {
  /** The device. */
  readonly former: DeviceEntry;
  /** Its next key. */
  readonly next: DeviceEntry;
}

/**
 * The successor of a device that waits for an administrator.
 *
 * @param id any ID of the device, or the ID of the successor
 */
export async function pendingOf(draft: ListDraft, id: string): Promise<PendingRotation | undefined> {
  const known = await draft.device(id);
  const formerId = known?.pending ? known.was?.at(-1) : await currentOf(draft, id);
  const former = formerId === undefined ? undefined : await draft.device(formerId);
  const next = former && (await nextEntryOf(draft, former));
  if (former === undefined || !next?.pending || (known?.pending && next.deviceId !== id)) return undefined;
  return { former, next };
}

/**
 * Lets a pending successor replace a device: the successor gets the device's name, rights, end and lease. The former key counts for
 * 30 days more.
 *
 * @param id any ID of the device, or the ID of the successor
 * @returns the successor
 * @throws AmeshError `no_rotation` if no successor is pending
 */
export async function acceptSuccessor(
  draft: ListDraft,
  id: string,
  nowSeconds: number,
): Promise<DeviceEntry> {
  const { former, next } = await expectPending(draft, id);
  if (!former.roles.includes('controller')) throw noRotation(id);
  const { deviceId, publicKey, was = [] } = next;
  const { next: _, unconfirmed, proves, keys, hosts, roles, ...rights } = former;
  const successor: DeviceEntry = { ...rights, deviceId, publicKey, was, hosts: [], roles: ['controller'] };
  await draft.put(successor);
  await draft.put({
    deviceId: former.deviceId,
    publicKey: former.publicKey,
    friendlyName: former.friendlyName,
    roles: roles.filter((role) => role !== 'controller'),
    hosts,
    addedAt: former.addedAt,
    ...(former.was && { was: former.was }),
    ...(proves === false && { proves }),
    ...(keys && { keys }),
    ...(unconfirmed && { unconfirmed }),
    next: deviceId,
    retiresAt: nowSeconds + ROTATION_LIMITS.overlapSeconds,
  });
  return successor;
}

/**
 * Refuses a pending successor for good.
 *
 * @param id any ID of the device, or the ID of the successor
 * @returns the device, as it stays
 * @throws AmeshError `no_rotation` if no successor is pending
 */
export async function refuseSuccessor(
  draft: ListDraft,
  id: string,
  nowSeconds: number,
): Promise<DeviceEntry> {
  const { former, next } = await expectPending(draft, id);
  const until = nowSeconds + REFUSED_SECONDS;
  await draft.bury({ deviceId: next.deviceId, revokedAt: nowSeconds, until });
  return former; // it still names the key, so that its owner learns that the key does not count
}

/**
 * Ends the time in which both keys count, because the former key says so. It ends 25 hours from now, so that the owner can still
 * take back a successor that a thief has named.
 *
 * @returns whether there was such an accepted successor
 */
export async function retireFormer(
  draft: ListDraft,
  formerId: string,
  nextId: string,
  nowSeconds: number,
): Promise<boolean> {
  const former = await draft.device(formerId);
  if (former?.retiresAt === undefined || former.next !== nextId) return false;
  const retiresAt = Math.min(former.retiresAt, nowSeconds + COMEBACK_SECONDS);
  if (retiresAt !== former.retiresAt) await draft.put({ ...former, retiresAt });
  return true;
}

async function expectPending(draft: ListDraft, id: string): Promise<PendingRotation> {
  const pending = await pendingOf(draft, id);
  if (pending === undefined) throw noRotation(id);
  return pending;
}

function noRotation(id: string): AmeshError {
  return new AmeshError(TRUST_CODES.no_rotation, `No next key of ${id} is waiting.`);
}

/** The former IDs of a successor: the first one always stays, since programs may know the device by it. */
function formerIdsOf({ was = [], deviceId }: DeviceEntry): readonly string[] {
  const ids = [...was, deviceId];
  return ids.length <= MAX_FORMER_IDS ? ids : [ids[0] as string, ...ids.slice(1 - MAX_FORMER_IDS)];
}

function isOwn(draft: ListDraft, deviceId: string, key: Uint8Array): boolean {
  const { list, owner, was = [] } = draft.before;
  return deviceId === list || was.includes(deviceId) || toBase64Url(key) === owner;
}

function isOver({ expiresAt, lease }: DeviceEntry, nowSeconds: number): boolean {
  return [expiresAt, lease?.expiresAt].some((end) => end !== undefined && end < nowSeconds);
}
