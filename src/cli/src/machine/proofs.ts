import { type DeviceIdentity, findBackend } from '@authmesh/sdk/admin/list';

/** How servers of this machine prove their answers to callers that ask for that. */
export function proofsText({ key }: DeviceIdentity): string {
  return findBackend(key.backend).isOutsideProcess
    ? 'servers here sign answers with an answer key, which the key of this machine vouches for'
    : 'servers here sign answers with the key of this machine';
}
