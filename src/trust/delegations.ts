import { AmeshError } from '../core/errors/amesh-error';
import { isNonce } from '../core/wire/credentials';
import { TRUST_CODES } from './errors/codes';
import type { ListDraft } from './format/draft';
import { COMEBACK_SECONDS } from './format/ended';
import type { DeviceEntry } from './format/entry';
import type { ListHead } from './format/head';
import { currentOf } from './rotation/chain';

/** A delegation that was revoked here. */
export interface EndedDelegation {
  /** The ID that `amesh delegate` printed: 22 base64url characters. */
  readonly id: string;
  /** Unix seconds until which the list remembers it: longer than a delegation can last. */
  readonly until: number;
}

/**
 * Revokes a delegation at this target, by its ID alone: a target does not know delegations that were not used yet.
 *
 * @returns whether it was not revoked before
 * @throws TypeError if it is not an ID
 */
export function endDelegation(draft: ListDraft, id: string, nowSeconds: number): boolean {
  if (!isNonce(id)) throw new TypeError('The ID of a delegation has 22 base64url characters.');
  const kept = draft.head.ended.filter(([, until]) => until > nowSeconds);
  if (kept.some(([ended]) => ended === id)) return false;
  draft.change({ ended: [...kept, [id, nowSeconds + COMEBACK_SECONDS]] });
  return true;
}

/** The delegations that were revoked here, and have not ended yet. */
export function endedDelegations({ ended }: Pick<ListHead, 'ended'>, nowSeconds: number): EndedDelegation[] {
  return ended.filter(([, until]) => until > nowSeconds).map(([id, until]) => ({ id, until }));
}

/**
 * Cuts off the working keys and delegations of a device: statements that its key signed before now are refused.
 *
 * @returns the device as it is now
 * @throws AmeshError `unknown_name` if the list does not have the device
 */
export async function cutKeys(draft: ListDraft, deviceId: string, nowSeconds: number): Promise<DeviceEntry> {
  const known = await draft.device(await currentOf(draft, deviceId));
  if (known === undefined)
    throw new AmeshError(TRUST_CODES.unknown_name, `${deviceId} is not in the allow list.`);
  const device = { ...known, keysSince: Math.max(nowSeconds, known.keysSince ?? 0) };
  await draft.put(device);
  return device;
}
