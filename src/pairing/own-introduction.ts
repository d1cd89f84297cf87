import { toBase64Url } from '../core/encoding';
import type { Device } from '../trust/device';
import { cleanName } from '../trust/names';
import type { Introduction } from './ceremony/introduction';

/** How a device introduces itself. */
export function ownIntroduction<Role extends Introduction['role']>(
  { identity, signer }: Device,
  role: Role,
  hosts: readonly string[],
): Introduction & { readonly role: Role } {
  return {
    role,
    publicKey: toBase64Url(signer.publicKey),
    name: cleanName(identity.friendlyName), // a person may have written into the file
    hosts,
  };
}
