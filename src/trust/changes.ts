import { LATEST_END, type Role } from '../core/devices/allow-list';
import { covers } from '../core/devices/scopes';
import { AmeshError } from '../core/errors/amesh-error';
import { REQUEST_CODES } from '../core/errors/codes';
import { TRUST_CODES } from './errors/codes';
import type { ListDraft } from './format/draft';
import { hasEnded, hasLeft } from './format/ended';
import type { DeviceEntry } from './format/entry';
import { isCount } from './format/members';
import { cleanName } from './names';
import { scopesMember, toScopes } from './rights/scopes';
import { buryAll, chainOf, currentOf } from './rotation/chain';

/** A peer to trust. */
export interface NewDevice {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** As the peer sent it; cleaned here. */
  readonly friendlyName: string;
  /** `controller`: it may call this machine. `target`: this machine may call it. */
  readonly role: Role;
  /** For a target: the authorities under which it is called, in normal form. */
  readonly hosts: readonly string[];
  /** For a new target: it has not yet shown that it trusts this device. */
  readonly unconfirmed?: true | undefined;
  /** For a target: whether it can prove its answers. Default: as the list says, or true for a new target. */
  readonly proves?: boolean | undefined;
  /** For a controller: scopes to add to those that it has; default none. */
  readonly scopes?: readonly string[] | undefined;
  /** A person trusts it again, so an end in the past is dropped. Default: the end stays. */
  readonly isTrustedAnew?: true | undefined;
}

/**
 * Adds a device, or adds a role, hosts and scopes to a known one. If nothing is new, the draft stays unchanged.
 *
 * @throws AmeshError `own_key`, `key_mismatch`, `key_replaced`, `host_taken`, `too_many_scopes`; TypeError for a malformed scope
 */
export async function addDevice(draft: ListDraft, device: NewDevice, nowSeconds: number): Promise<void> {
  const { deviceId, publicKey, role } = device;
  const { owner, list, was = [] } = draft.before;
  if (publicKey === owner || deviceId === list || was.includes(deviceId))
    throw new AmeshError(TRUST_CODES.own_key);
  const listed = await draft.device(deviceId);
  if (listed?.pending) await forgetProposal(draft, listed); // somebody trusts it as a device of its own
  const known = listed?.pending ? undefined : listed;
  if (known?.retiresAt !== undefined && role === 'controller') throw keyReplaced(known);
  if (known !== undefined && known.publicKey !== publicKey) {
    throw new AmeshError(TRUST_CODES.key_mismatch, undefined, {
      fix: 'If the new key is right, first run',
      command: ['amesh', 'revoke', deviceId],
    });
  }
  await assertHostsFree(draft, device.hosts, deviceId);
  const isOld = role === 'controller' && known !== undefined && hasLeft(known, nowSeconds);
  const scopes = withScopes(isOld ? [] : known?.scopes, device.scopes);

  if (known === undefined) {
    // What its key signed before it was revoked stays revoked: its delegates and working keys do not come back with it.
    const revoked = await draft.tombstone(deviceId);
    return draft.put({
      deviceId,
      publicKey,
      friendlyName: cleanName(device.friendlyName),
      roles: [role],
      hosts: device.hosts,
      addedAt: nowSeconds,
      ...scopesMember(scopes),
      ...(device.unconfirmed && { unconfirmed: true }),
      ...(device.proves === false && { proves: false }),
      ...(revoked && { keysSince: revoked.revokedAt }),
    });
  }
  const isForGood = role === 'controller' && known.lease !== undefined; // a paired device needs no lease
  const isNewTarget = role === 'target' && !known.roles.includes('target');
  const isOver =
    device.isTrustedAnew && known.expiresAt !== undefined && hasEnded(known.expiresAt, nowSeconds);
  const { lease, expiresAt, proves, scopes: _, ...rest } = known;
  const isUnproven = (device.proves ?? proves) === false;
  await draft.put({
    ...rest,
    ...scopesMember(scopes),
    ...(expiresAt !== undefined && !isOver && { expiresAt }),
    ...(lease !== undefined && !isForGood && { lease }),
    roles: [...new Set([...known.roles, role])],
    hosts: [...new Set([...known.hosts, ...device.hosts])],
    ...(isNewTarget && device.unconfirmed && { unconfirmed: true as const }),
    ...(isUnproven && { proves: false as const }),
  });
}

/** Makes a pending successor a device that nobody has proposed as a next key. */
async function forgetProposal(draft: ListDraft, { was = [], deviceId }: DeviceEntry): Promise<void> {
  const former = await draft.device(was.at(-1) ?? '');
  if (former?.next !== deviceId) return;
  const { next: _, ...entry } = former;
  await draft.put(entry);
}

/** The error for a key that its device has replaced. */
function keyReplaced({ deviceId, next = '' }: Pick<DeviceEntry, 'deviceId' | 'next'>): AmeshError {
  return new AmeshError(TRUST_CODES.key_replaced, `${deviceId} was replaced by ${next}.`, {
    fix: 'If the former key is the right one, first run',
    command: ['amesh', 'revoke', next],
  });
}

/**
 * Checks that no other target has these hosts.
 *
 * @throws AmeshError `host_taken`
 */
export async function assertHostsFree(
  draft: Pick<ListDraft, 'device'> & { readonly head: Pick<ListDraft['head'], 'targets'> },
  hosts: readonly string[],
  deviceId: string,
): Promise<void> {
  for (const [host, id] of draft.head.targets) {
    if (id === deviceId || !hosts.includes(host)) continue;
    throw hostTaken(host, (await draft.device(id)) ?? { friendlyName: id, deviceId: id });
  }
}

/** Records that a target trusts this device. If the list says so already, or the target is gone, the draft stays unchanged. */
export async function confirmDevice(draft: ListDraft, id: string): Promise<void> {
  const known = await draft.device(id);
  if (known?.unconfirmed === undefined) return;
  const { unconfirmed: _, ...entry } = known;
  await draft.put(entry);
}

/**
 * Renames a device; the name is cleaned here. Several devices may have the same name.
 *
 * @returns the cleaned name
 * @throws AmeshError `unknown_name` if the list does not have the device
 */
export async function renameDevice(draft: ListDraft, id: string, name: string): Promise<string> {
  const known = await draft.device(await currentOf(draft, id));
  if (known === undefined) throw new AmeshError(TRUST_CODES.unknown_name, `${id} is not in the allow list.`);
  const friendlyName = cleanName(name);
  await draft.put({ ...known, friendlyName });
  return friendlyName;
}

/**
 * Gives a controller more scopes, and sets when the trust in it ends.
 *
 * @param expiresAt Unix seconds; null for no end. Default: unchanged
 * @returns the device as it is now
 * @throws AmeshError `unknown_name`, `role_not_allowed`, `too_many_scopes`; TypeError for a malformed scope. The draft then
 *   stays unchanged
 */
export async function allowScopes(
  draft: ListDraft,
  id: string,
  scopes: readonly string[],
  expiresAt?: number | null,
): Promise<DeviceEntry> {
  if (typeof expiresAt === 'number' && !(isCount(expiresAt) && expiresAt <= LATEST_END))
    throw new TypeError('expiresAt must be Unix seconds.');
  const { expiresAt: end, ...known } = await expectController(draft, id);
  const next = expiresAt === undefined ? end : (expiresAt ?? undefined);
  const device = {
    ...known,
    ...scopesMember(withScopes(known.scopes, scopes)),
    ...(next !== undefined && { expiresAt: next }),
  };
  await draft.put(device);
  return device;
}

/**
 * Takes scopes from a controller, and all scopes that they cover: without `orders:*` it has no `orders:read` either.
 *
 * @returns the device as it is now
 * @throws AmeshError `unknown_name`, `role_not_allowed`; `scope_still_covered` if a wildcard that the device keeps covers
 *   one of them. TypeError for a malformed scope. The draft then stays unchanged
 */
export async function denyScopes(
  draft: ListDraft,
  id: string,
  scopes: readonly string[],
): Promise<DeviceEntry> {
  const denied = toScopes(scopes);
  const { scopes: before = [], ...known } = await expectController(draft, id);
  const kept = before.filter((scope) => !covers(denied, scope));
  const [wide] = kept.filter((pattern) => denied.some((scope) => covers([pattern], scope)));
  if (wide !== undefined) {
    const still = denied.filter((scope) => covers([wide], scope));
    throw new AmeshError(
      TRUST_CODES.scope_still_covered,
      `${JSON.stringify(known.friendlyName)} has ${wide}, which covers ${still.join(', ')}.`,
      {
        fix: 'Take the wildcard away, and then allow what the device still needs. To take it away',
        command: ['amesh', 'deny', id, wide],
      },
    );
  }
  const device = { ...known, ...scopesMember(kept) };
  await draft.put(device);
  return device;
}

function withScopes(before: readonly string[] = [], more: readonly string[] = []): readonly string[] {
  return more.length === 0 ? before : toScopes([...before, ...more]);
}

async function expectController(draft: ListDraft, id: string): Promise<DeviceEntry> {
  const known = await draft.device(await currentOf(draft, id));
  if (known === undefined) throw new AmeshError(TRUST_CODES.unknown_name, `${id} is not in the allow list.`);
  if (known.roles.includes('controller')) return known;
  throw new AmeshError(
    REQUEST_CODES.role_not_allowed,
    `${JSON.stringify(known.friendlyName)} is not a controller: it may not call this machine, so scopes and an end have no effect.`,
  );
}

/** The error `host_taken`, which names the device that has the host. */
export function hostTaken(
  host: string,
  { friendlyName, deviceId }: Pick<DeviceEntry, 'friendlyName' | 'deviceId'>,
): AmeshError {
  return new AmeshError(TRUST_CODES.host_taken, `${host} already belongs to "${friendlyName}".`, {
    fix: 'Use another host, or first run',
    command: ['amesh', 'revoke', deviceId],
  });
}

/**
 * Removes a device with all its roles and all its keys, and remembers their IDs for as long as an old request or token could
 * bring them back. If the list does not have the device, the draft stays unchanged.
 *
 * @param id any ID of the device, including those that it had before its key was rotated
 */
export async function revokeDevice(draft: ListDraft, id: string, nowSeconds: number): Promise<void> {
  const chain = await chainOf(draft, id);
  if (chain.length === 0 && (await draft.find(id))?.kind === 'foreign') chain.push(id);
  const moved = await movedIdsOf(draft, chain);
  await buryAll(draft, [...chain, ...moved], nowSeconds);
}

/** The IDs of the keys to which targets have moved. A key that the list has as a device of its own stays: somebody trusts it. */
async function movedIdsOf(draft: ListDraft, ids: readonly string[]): Promise<string[]> {
  const moved: string[] = [];
  for (const id of ids)
    for (const { deviceId } of (await draft.device(id))?.keys ?? [])
      if ((await draft.find(deviceId)) === undefined) moved.push(deviceId);
  return moved;
}

/**
 * Takes the role of a controller from a device, and revokes what its keys have signed. A device without another role is revoked.
 *
 * @param id like {@link revokeDevice}
 */
export async function dismissController(draft: ListDraft, id: string, nowSeconds: number): Promise<void> {
  const current = await draft.device(await currentOf(draft, id));
  if (current === undefined || !current.roles.includes('controller')) return;
  const chain = await chainOf(draft, id);
  const ended: string[] = [];
  for (const deviceId of chain) {
    const {
      lease: _,
      scopes: __,
      next: ___,
      retiresAt: ____,
      ...entry
    } = (await draft.device(deviceId)) ?? {
      roles: [],
    };
    const roles = entry.roles.filter((role) => role !== 'controller');
    if (!('deviceId' in entry) || roles.length === 0) ended.push(deviceId);
    else await draft.put({ ...entry, roles, keysSince: Math.max(nowSeconds, entry.keysSince ?? 0) });
  }
  await buryAll(draft, ended, nowSeconds);
}

/** Sets the authorities to which this device answers, in normal form. */
export function setHosts(draft: ListDraft, hosts: readonly string[]): void {
  const next = [...new Set(hosts)];
  const { hosts: before } = draft.head;
  const isSame = next.length === before.length && next.every((host) => before.includes(host));
  if (!isSame) draft.change({ hosts: next });
}
