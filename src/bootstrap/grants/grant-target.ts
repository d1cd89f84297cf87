import type { AllowList } from '../../core/devices/allow-list';
import { addDevice } from '../../trust/changes';
import type { ListDraft } from '../../trust/format/draft';
import { PagedList } from '../../trust/format/paged-list';
import { assertNotRevoked, isFromBefore, issuerRevoked } from '../../trust/tokens';
import type { GrantClaims } from '../tokens/token';

/** Whether a list says that the target of a grant was revoked after it had issued the grant. */
export function isRevokedIn(list: AllowList, { iss, iat }: GrantClaims): boolean {
  return list instanceof PagedList && isFromBefore(iat, list.entry(iss) ?? list.tombstone(iss), 'target');
}

/**
 * Checks that a machine may enrol with a grant, before that uses the grant up.
 *
 * @throws AmeshError `token_revoked`
 */
export function assertUsable(list: PagedList, claims: GrantClaims): void {
  if (isRevokedIn(list, claims)) throw issuerRevoked(claims.iss);
}

/**
 * Puts the target of a grant into the list of this device. If another target has one of its hosts, that target keeps the host.
 *
 * @throws AmeshError `token_revoked` if it was revoked here after it had issued the grant
 */
export async function addTarget(
  draft: ListDraft,
  claims: GrantClaims,
  authority: string,
  nowSeconds: number,
): Promise<void> {
  const { iss, key, name, iat, hosts } = claims;
  await assertNotRevoked(draft, iss, 'target', iat);
  const proves = claims.proves !== false;
  const others = draft.head.targets.flatMap(([host, deviceId]) => (deviceId === iss ? [] : [host]));
  const own = [...new Set([...hosts, authority])].filter((host) => !others.includes(host));
  const target = { deviceId: iss, publicKey: key, friendlyName: name, role: 'target' as const, hosts: own };
  await addDevice(draft, { ...target, proves }, nowSeconds);
}
