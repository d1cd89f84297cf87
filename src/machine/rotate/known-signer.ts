import type { Signer } from '../../core/crypto/provider';
import type { TrustedDevice } from '../../core/devices/allow-list';
import { AmeshError } from '../../core/errors/amesh-error';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { Device } from '../../trust/device';
import { MACHINE_CODES } from '../errors/codes';
import { toldOf } from '../rotation/change-rotation';
import { keyAfter, readRotationFile } from '../rotation/rotation-file';

type Named = Pick<TrustedDevice, 'deviceId' | 'friendlyName'>;

/**
 * The key of a machine that some targets know, for what it signs for all of them, such as a delegation. While the key is replaced,
 * that is the former one for each target that has not accepted the next one. While the next key is withdrawn, it is the former one
 * for each target of the rotation.
 *
 * @param targets targets in the list of the machine
 * @throws AmeshError `rotation_unfinished` if the former key is right for some of them, and the next one for others;
 *   `rotation_unreadable`; of the key backend
 */
export async function knownSigner(
  { identity, signer, store }: Pick<Device, 'identity' | 'signer' | 'store'>,
  targets: readonly Pick<TrustedDevice, 'deviceId' | 'friendlyName'>[],
  env: Env,
): Promise<Signer> {
  const rotation = await readRotationFile(store);
  // Until the next key is used, and after the end of a withdrawal, the present key is the former one.
  if (rotation === null || rotation.next.deviceId !== identity.deviceId) return signer;
  const nowMs = Date.now();
  const isBehind = ({ deviceId }: Named) => {
    const told = toldOf(rotation, deviceId); // a target that was paired since knows only the next key
    if (told === undefined) return false;
    return rotation.withdrawnAt !== undefined || keyAfter(told, nowMs) === 'former';
  };
  const behind = targets.filter(isBehind);
  if (behind.length === 0) return signer;
  const others = targets.filter((target) => !isBehind(target));
  const { backend, ref } = rotation.former.key;
  if (others.length === 0) return findBackend(backend).open(ref, { dir: store.dir, env });
  if (rotation.withdrawnAt !== undefined) throw withdrawn(others);
  // For how long the former key still counts at these, only they know.
  throw new AmeshError(
    MACHINE_CODES.rotation_unfinished,
    `${all(behind)} ${have(behind)} not accepted the next key of this machine, and ${all(others)} ${have(others)}. So no key counts at all of them for long.`,
    {
      fix: 'Make a delegation for each of the two groups. Or announce the next key first',
      command: ['amesh', 'rotate', 'URL'],
    },
  );
}

/** The error while the next key is withdrawn, for targets that know no other key. */
function withdrawn(targets: readonly Named[]): AmeshError {
  const were = targets.length === 1 ? 'was' : 'were';
  return new AmeshError(
    MACHINE_CODES.rotation_unfinished,
    `${all(targets)} ${were} paired with the next key of this machine, which is being withdrawn.`,
    {
      fix: 'Complete that, and pair again what was paired since the rotation began',
      command: ['amesh', 'rotate', 'withdraw'],
    },
  );
}

function all(targets: readonly Named[]): string {
  return targets
    .map(({ friendlyName, deviceId }) => `${JSON.stringify(friendlyName)} (${deviceId})`)
    .join(', ');
}

function have({ length }: readonly unknown[]): string {
  return length === 1 ? 'has' : 'have';
}
