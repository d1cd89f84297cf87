import type { MaybePromise } from '../crypto/provider';
import type { AllowList, AllowListSource, TrustedDevice } from '../devices/allow-list';
import { missingScope } from '../devices/scopes';
import { AmeshError } from '../errors/amesh-error';
import { REQUEST_CODES, SERVER_CODES } from '../errors/codes';
import { Fault, toFault } from '../errors/fault';

/** @throws AmeshError with a refusal code, whatever the source throws */
export function readAllowList(source: AllowListSource): MaybePromise<AllowList> {
  try {
    const list = source.current();
    return list instanceof Promise ? list.catch(listFailed) : list;
  } catch (error) {
    return listFailed(error);
  }
}

function listFailed(error: unknown): never {
  // This includes errors such as a lock that is held too long: their codes are not for clients.
  if (toFault(error) !== null) throw error;
  throw new AmeshError(SERVER_CODES.allow_list_unavailable, undefined, { cause: error });
}

/** Checks 5 and 6: the device is in the list, and may call. */
export function findController(list: AllowList, deviceId: string): TrustedDevice | Fault {
  const device = list.find(deviceId);
  if (device === undefined) {
    return new Fault(
      REQUEST_CODES.unknown_device,
      `${deviceId} is not in the allow list: never paired, or revoked.`,
    );
  }
  if (!device.roles.includes('controller')) return new Fault(REQUEST_CODES.role_not_allowed);
  return device;
}

/** Check 9: the trust in the device has not ended, and it has each of these scopes. */
export function checkRights(device: TrustedDevice, required: readonly string[], nowMs: number): Fault | null {
  if (device.expiresAt !== undefined && nowMs > device.expiresAt * 1000)
    return new Fault(REQUEST_CODES.device_expired);
  const scope = missingScope(device.scopes ?? [], required);
  if (scope === undefined) return null;
  const command = ['amesh', 'allow', device.deviceId, scope];
  return new Fault(
    { ...REQUEST_CODES.scope_missing, scope, command },
    `The device does not have the scope ${scope}, which is required here.`,
  );
}

/** All that the list decides about a device whose signature is right: checks 5, 6 and 9. */
export function authorize(
  list: AllowList,
  deviceId: string,
  required: readonly string[],
  nowMs: number,
): TrustedDevice | Fault {
  const device = findController(list, deviceId);
  return device instanceof Fault ? device : (checkRights(device, required, nowMs) ?? device);
}
