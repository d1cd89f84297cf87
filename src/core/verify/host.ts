import { hostFix } from '#hints';
import { type AllowList, isOwnId } from '../devices/allow-list';
import { REQUEST_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { isLoopback, portOf } from '../wire/authority';
import { isDeviceId } from '../wire/credentials';
import type { RequestLine } from '../wire/line';
import { fieldValue, type RequestView } from '../wire/view';
import type { VerifySettings } from './options';

/** Check 3: this server accepts the host, and AuthMesh-Target, if present, names this device. */
export function checkHost(
  settings: VerifySettings,
  view: RequestView,
  line: RequestLine,
  list: AllowList,
): Fault | null {
  const named = fieldValue(view.headers, 'authmesh-target');
  if (!answersTo(settings, view, line.authority, list, named)) {
    return new Fault(
      REQUEST_CODES.wrong_host,
      `The request is for ${line.authority}, which is not a host of this machine.`,
      hostFix(settings.hosts, list.hosts, view, line.authority),
    );
  }
  // Callers that were paired after a list moved to another owner name the ID of that owner.
  if (named !== undefined && !isOwnId(list, named)) {
    return new Fault(
      REQUEST_CODES.wrong_target,
      `The request is for ${isDeviceId(named) ? named : 'none'}, but this device is ${list.deviceId ?? 'none'}.`,
    );
  }
  return null;
}

/** @see docs/protocol.md, "Authority and hosts" */
function answersTo(
  { hosts, authority }: VerifySettings,
  view: RequestView,
  seen: string,
  list: AllowList,
  named: string | undefined,
): boolean {
  if (authority !== undefined) return true;
  if (hosts !== undefined) return hosts.has(seen);
  if (list.hosts.length > 0) return list.hosts.includes(seen);
  if (named !== undefined && named === list.deviceId) return true;
  if (!isLoopback(seen)) return false;
  const port = portOf(seen);
  const { localPort } = view;
  return port === null ? localPort === 80 || localPort === 443 : localPort === port;
}
