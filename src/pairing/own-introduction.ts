import { toBase64Url } from '../core/encoding';
import type { Device } from '../trust/device';
import { cleanName } from '../trust/names';
import type { Introduction } from './ceremony/introduction';

/** The introduction of this device. */
export function ownIntroduction<Role extends Introduction['role']>(
  { identity, signer }: Device,
  role: Role,
  hosts: readonly string[],
  more: Pick<Introduction, 'proves'> = {},
): Introduction & { readonly role: Role } {
  return {
    role,
    publicKey: toBase64Url(signer.publicKey),
    name: cleanName(identity.friendlyName), // cleaned, since identity.json is not sealed
    hosts,
    ...more,
  };
}
