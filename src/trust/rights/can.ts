import type { AllowList } from '../../core/devices/allow-list';
import type { RefusalCode } from '../../core/errors/code-names';
import type { Fix } from '../../core/errors/define-codes';
import { Fault } from '../../core/errors/fault';
import { authorize } from '../../core/verify/device';

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
  list: AllowList,
  deviceId: string,
  required: readonly string[],
  nowMs: number,
): WhyNot | null {
  const found = authorize(list, deviceId, required, nowMs);
  if (!(found instanceof Fault)) return null;
  const { code, facts, detail = facts.cause } = found;
  const advice = code === 'device_expired' ? moveEnd(deviceId) : (found.advice ?? facts);
  return { code, detail, fix: advice.fix, command: advice.command };
}

function moveEnd(deviceId: string): Fix {
  return { fix: 'If it may still call', command: ['amesh', 'allow', deviceId, '--expires', '90d'] };
}
