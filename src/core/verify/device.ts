import { andThen } from '../and-then';
import type { MaybePromise } from '../crypto/provider';
import type { AllowList, AllowListSource, TrustedDevice } from '../devices/allow-list';
import { commonScopes, covers, missingScope } from '../devices/scopes';
import { AmeshError } from '../errors/amesh-error';
import { REQUEST_CODES, SERVER_CODES } from '../errors/codes';
import { Fault, toFault } from '../errors/fault';
import type { CarriedStatement } from '../statements/carried-statement';
import type { VerifySettings } from './options';

/** @throws AmeshError with a refusal code, whatever the source throws */
export function readAllowList(source: AllowListSource): MaybePromise<AllowList> {
  try {
    return andThen(source.current(), (list) => list, listFailed);
  } catch (error) {
    return listFailed(error);
  }
}

function listFailed(error: unknown): never {
  // Other errors get a refusal code, too, such as the one about a lock that is held too long: their codes are not for clients.
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

/** The scopes of a caller: those of its device; for a delegate, only those that it was lent. */
export function scopesOf(
  { scopes = [] }: TrustedDevice,
  statement: CarriedStatement | undefined,
): readonly string[] {
  const { delegation } = statement ?? {};
  return delegation === undefined ? scopes : commonScopes(delegation.scopes, scopes);
}

/** Check 9: the trust in the device has not ended, the route accepts such a caller, and the caller has each of these scopes. */
export function checkRights(
  device: TrustedDevice,
  statement: CarriedStatement | undefined,
  { require, delegates }: Pick<VerifySettings, 'require' | 'delegates'>,
  nowMs: number,
): Fault | null {
  if (device.expiresAt !== undefined && nowMs > device.expiresAt * 1000)
    return new Fault(REQUEST_CODES.device_expired);
  const name = statement?.delegation?.name;
  const who = name === undefined ? 'The device' : `The delegate ${name}`;
  if (name !== undefined && !delegates)
    return new Fault(
      REQUEST_CODES.delegate_not_allowed,
      `${who} called a route that does not accept delegates.`,
    );
  const scope = missingScope(scopesOf(device, statement), require);
  if (scope === undefined) return null;
  const isLent = name === undefined || covers(statement?.delegation?.scopes ?? [], scope);
  return new Fault(
    { ...REQUEST_CODES.scope_missing, scope, command: ['amesh', 'allow', device.deviceId, scope] },
    `${who} does not have the scope ${scope}, which is required here.`,
    isLent ? undefined : { fix: 'If it should have it: make a new delegation with this scope.' },
  );
}

/** All that the list decides about a device that signs its requests itself: checks 5, 6 and 9. */
export function authorize(
  list: AllowList,
  deviceId: string,
  require: readonly string[],
  nowMs: number,
): TrustedDevice | Fault {
  const device = findController(list, deviceId);
  if (device instanceof Fault) return device;
  return checkRights(device, undefined, { require, delegates: false }, nowMs) ?? device;
}
