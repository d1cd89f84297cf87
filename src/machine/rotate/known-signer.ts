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
 * that is the former one for each target that has not accepted the next one.
 *
 * @param targets targets in the list of the machine
 * @throws AmeshError `rotation_unfinished` if some of them know only the former key, and others have accepted the next one;
 *   `rotation_unreadable`; of the key backend
 */
export async function knownSigner(
  { identity, signer, store }: Pick<Device, 'identity' | 'signer' | 'store'>,
  targets: readonly Named[],
  env: Env,
): Promise<Signer> {
  const rotation = await readRotationFile(store);
  // Until the next key is used, and after a withdrawal, the present key is the former one.
  if (rotation === null || rotation.next.deviceId !== identity.deviceId) return signer;
  const nowMs = Date.now();
  const isBehind = ({ deviceId }: Named) => {
    const told = toldOf(rotation, deviceId); // a target that was paired since knows only the next key
    return told !== undefined && keyAfter(told, nowMs) === 'former';
  };
  const behind = targets.filter(isBehind);
  if (behind.length === 0) return signer;
  const others = targets.filter((target) => !isBehind(target));
  const { backend, ref } = rotation.former.key;
  if (others.length === 0) return findBackend(backend).open(ref, { dir: store.dir, env });
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

function all(targets: readonly Named[]): string {
  return targets
    .map(({ friendlyName, deviceId }) => `${JSON.stringify(friendlyName)} (${deviceId})`)
    .join(', ');
}

function have({ length }: readonly unknown[]): string {
  return length === 1 ? 'has' : 'have';
}
