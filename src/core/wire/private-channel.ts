import { isLoopback, normalizeAuthority } from './authority';

/** Whether nobody in between can read or change the traffic to this URL: https, or loopback. */
export function isPrivateChannel(url: URL): boolean {
  return url.protocol === 'https:' || isLoopback(normalizeAuthority(url.host) ?? '');
}
