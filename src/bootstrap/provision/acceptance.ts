import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import type { Verified } from '../../core/verify/checks';
import { fieldValue } from '../../core/wire/view';

/** An accepted request. */
export interface Acceptance {
  /** Its device in the allow list. */
  readonly device: TrustedDevice;
  /** The nonce of the request, 22 characters. */
  readonly nonce: string;
  /** The signed authority, in normal form. */
  readonly authority: string;
  /** The list that accepted the device. */
  readonly list: AllowList;
  /** Whether the caller names this device in AuthMesh-Target. */
  readonly isNamed: boolean;
  /** Whether a delegate of the device called. */
  readonly isDelegate: boolean;
}

export function toAcceptance({ device, credentials, line, list, view, statement }: Verified): Acceptance {
  const isNamed = list.deviceId !== null && fieldValue(view.headers, 'authmesh-target') === list.deviceId;
  const isDelegate = statement?.delegation !== undefined;
  return { device, nonce: credentials.nonce, authority: line.authority, list, isNamed, isDelegate };
}
