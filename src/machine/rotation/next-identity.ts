import { MAX_CHAIN } from '../../core/rotation/chain';
import { MAX_FORMER_IDS } from '../../trust/format/entry';
import type { DeviceIdentity } from '../../trust/identity';
import type { OwnRotation } from './rotation-file';

/** The identity with the next key. It always keeps its first ID, since its list has that ID. */
export function nextIdentity(identity: DeviceIdentity, { next, own }: OwnRotation): DeviceIdentity {
  const { friendlyName, deviceId, was = [] } = identity;
  const [first = deviceId, ...later] = [...was, deviceId];
  return {
    ...next,
    friendlyName,
    was: [first, ...later.slice(-(MAX_FORMER_IDS - 1))],
    rotations: chainOf(identity.rotations, own),
  };
}

/**
 * The identity after it has gone back to its former key.
 *
 * @param back the statement of both keys that the former key replaces the next one; undefined if the next key cannot sign it
 */
export function formerIdentity(
  { friendlyName, rotations }: DeviceIdentity,
  { former }: OwnRotation,
  back: string | undefined,
): DeviceIdentity {
  const { rotations: _, ...rest } = former;
  if (back === undefined) return { ...former, friendlyName };
  return { ...rest, friendlyName, rotations: chainOf(rotations, back) };
}

function chainOf(rotations: readonly string[] | undefined, last: string): readonly string[] {
  return [...(rotations ?? []), last].slice(-MAX_CHAIN);
}
