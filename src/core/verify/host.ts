import type { AllowList } from '../devices/allow-list';
import { REQUEST_CODES } from '../errors/codes';
import type { Fix } from '../errors/define-codes';
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
      `The request is for ${line.authority}, a host that this machine does not answer to.`,
      howToAdd(settings, view, line.authority, list),
    );
  }
  if (named !== undefined && named !== list.deviceId) {
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

/** The complete new list of hosts: naming only the new host would lock out the others. */
function howToAdd({ hosts }: VerifySettings, view: RequestView, seen: string, list: AllowList): Fix {
  const own = [...(hosts ?? list.hosts)];
  // If a proxy put this host in, adding it would only lead to `invalid_signature`.
  const proxied = own[0] ? `If a proxy put it in: verify({ authority: '${own[0]}' }). ` : '';
  const { localPort } = view;
  const loopback = isLoopback(seen);
  const local = localPort && !loopback ? [`localhost:${localPort}`] : [];
  const fix = `${proxied}If callers use it`;
  if (hosts) return { fix: `${fix}: add it to verify({ hosts }) or AMESH_HOSTS, now ${own}` };
  if (own[0] || localPort || !loopback)
    return { fix, command: ['amesh', 'config', 'hosts', `${[seen, ...(own[0] ? own : local)]}`] };
  return { fix: `${fix}: amesh config hosts ${seen}, or AMESH_HOSTS, or pair: the port is unknown` };
}
