import { isLoopback, normalizeAuthority } from './authority';

/** Whether nobody on the way can read or change what goes over this URL: https, or this machine itself. */
export function isPrivateChannel(url: URL): boolean {
  return url.protocol === 'https:' || isLoopback(normalizeAuthority(url.host) ?? '');
}
