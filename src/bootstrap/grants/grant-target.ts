import type { AllowList } from '../../core/devices/allow-list';
import type { SentRequest } from '../../core/sign/sent-request';
import { assertHostsFree, type NewDevice } from '../../trust/changes';
import type { ListDraft } from '../../trust/format/draft';
import type { DeviceEntry } from '../../trust/format/entry';
import { PagedList } from '../../trust/format/paged-list';
import { assertNotRevoked, isFromBefore, issuerRevoked } from '../../trust/tokens';
import type { GrantClaims } from '../tokens/token';

/** The part of a list that decides about a grant. */
type Listed = Pick<ListDraft, 'device' | 'tombstone'> & { readonly head: Pick<ListDraft['head'], 'targets'> };

/** Whether a list says that the target of a grant was revoked after it had issued the grant. */
export function isRevokedIn(list: AllowList, { iss, iat }: GrantClaims): boolean {
  return list instanceof PagedList && isFromBefore(iat, known(list, iss), 'target');
}

/** @throws AmeshError `token_revoked` if the target of a grant was revoked here after it had issued the grant */
export function assertNotRevokedIn(list: PagedList, claims: GrantClaims): void {
  if (isRevokedIn(list, claims)) throw issuerRevoked(claims.iss, known(list, claims.iss));
}

function known(list: PagedList, deviceId: string) {
  return list.entry(deviceId) ?? list.tombstone(deviceId);
}

/**
 * Checks that this machine may record an enrolment, before the enrolment uses up the grant.
 *
 * @param authority where the target is called, in normal form
 * @throws AmeshError `token_revoked`; `host_taken` if another target of the list has that host
 */
export async function assertUsable(list: PagedList, claims: GrantClaims, authority: string): Promise<void> {
  const listed: Listed = {
    head: list.head,
    device: async (id) => list.entry(id),
    tombstone: async (id) => list.tombstone(id),
  };
  await toTarget(listed, claims, { authority, target: claims.iss });
}

/** What a grant adds to the list of this device. */
interface Addition {
  readonly target: NewDevice;
  /** Hosts of the grant that another target has. They stay there. */
  readonly others: readonly string[];
}

/**
 * The target of a grant, to add to the list of this device.
 *
 * @param called the host that was called, in normal form, and the target that the request named
 * @returns null if the request was for another target
 * @throws AmeshError like {@link assertUsable}
 */
export async function toTarget(
  list: Listed,
  claims: GrantClaims,
  { authority, target }: Pick<SentRequest, 'authority' | 'target'>,
): Promise<Addition | null> {
  const { iss, key, name, iat } = claims;
  const hosts = [...new Set([...claims.hosts, authority])];
  const moved = await movedTarget(list, hosts, key);
  if (moved === undefined) await assertNotRevoked(list, iss, 'target', iat);
  const issuer = { deviceId: iss, publicKey: key, friendlyName: name };
  const { deviceId, publicKey, friendlyName } = moved ?? issuer;
  if (target !== iss && target !== deviceId) return null;
  await assertHostsFree(list, [authority], deviceId);
  const taken = new Map(list.head.targets.filter(([, id]) => id !== deviceId));
  const own = hosts.filter((host) => !taken.has(host));
  const proves = claims.proves !== false;
  return {
    target: { deviceId, publicKey, friendlyName, role: 'target', hosts: own, proves },
    others: hosts.filter((host) => taken.has(host)),
  };
}

/** The target at one of these hosts that has moved to a key. The list has it under its first key. */
async function movedTarget(
  list: Listed,
  hosts: readonly string[],
  key: string,
): Promise<DeviceEntry | undefined> {
  for (const [host, id] of list.head.targets) {
    const target = hosts.includes(host) ? await list.device(id) : undefined;
    if (target?.keys?.at(-1)?.publicKey === key) return target;
  }
  return undefined;
}
