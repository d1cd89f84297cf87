import type { RefusalCode } from '../../core/errors/code-names';
import { REQUEST_CODES } from '../../core/errors/codes';
import type { Fix } from '../../core/errors/define-codes';
import { Fault } from '../../core/errors/fault';
import { authorize } from '../../core/verify/device';
import type { DeviceEntry } from '../format/entry';
import type { ListHead } from '../format/head';
import type { PagedList } from '../format/paged-list';

/** Why a verifier would refuse a device. */
export interface WhyNot {
  /** As in its log: `unknown_device`, `role_not_allowed`, `device_expired` or `scope_missing`. */
  readonly code: RefusalCode;
  /** The cause: one sentence. */
  readonly detail: string;
  /** What to do about it, ending with the command if there is one. */
  readonly fix: string;
  /** The command to type, as an array of arguments. */
  readonly command?: readonly string[] | undefined;
}

/**
 * Why the list refuses a request of a device whose signature is right. A verifier runs the same code.
 *
 * @param required the scopes that the request needs; may be empty
 * @param nowMs Unix milliseconds
 * @returns null if it may pass
 * @throws AmeshError if the page of the device is missing or is not understood
 */
export function whyNot(
  list: PagedList,
  deviceId: string,
  required: readonly string[],
  nowMs: number,
): WhyNot | null {
  const found = authorize(list, deviceId, required, nowMs);
  if (!(found instanceof Fault)) return null;
  const { code, facts, detail = facts.cause } = found;
  if (code === 'device_expired') {
    const entry = list.entry(list.find(deviceId)?.replacedBy ?? deviceId);
    return (entry && whyEnded(entry, list.head, nowMs)) ?? { code, detail, ...moveEnd(deviceId) };
  }
  const advice = found.advice ?? facts;
  return { code, detail, fix: advice.fix, command: advice.command };
}

/**
 * Why the trust in a device does not last any more, and what changes that: a later end does not renew a lease, and a grant renews a
 * lease only while the trust lasts.
 *
 * @param nowMs Unix milliseconds
 * @returns null if neither the trust in it nor its lease has ended
 */
export function whyEnded(
  { deviceId, friendlyName, expiresAt, lease }: DeviceEntry,
  { grants }: Pick<ListHead, 'grants'>,
  nowMs: number,
): WhyNot | null {
  const [isOver, isLeaseOver] = [expiresAt, lease?.expiresAt].map(
    (end) => end !== undefined && nowMs > end * 1000,
  );
  const { code, cause } = REQUEST_CODES.device_expired;
  if (!isLeaseOver) return isOver ? { code, detail: cause, ...moveEnd(deviceId) } : null;
  if (isOver)
    return {
      code,
      detail: 'The lease of this device and the trust in it have ended.',
      fix: 'If it may call again, pair it: run amesh listen here and amesh invite on the caller',
    };
  const names = grants.find(({ id }) => id === lease?.grant)?.names ?? friendlyName;
  return {
    code,
    detail: 'The lease of this device has ended.',
    fix: 'If it may call again, pair it (amesh listen), or give it the token of a new grant',
    command: ['amesh', 'grant', '--name', isPattern(names) ? names : 'NAME'],
  };
}

/** Whether a name is a value of --name as it is: a name may look like a flag, or have several wildcards. */
function isPattern(names: string): boolean {
  return !names.startsWith('-') && names.split('*').length <= 2;
}

function moveEnd(deviceId: string): Required<Fix> {
  return { fix: 'If it may still call', command: ['amesh', 'allow', deviceId, '--expires', '90d'] };
}
