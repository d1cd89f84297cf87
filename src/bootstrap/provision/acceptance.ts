import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import type { Verified } from '../../core/verify/checks';
import { fieldValue } from '../../core/wire/view';

/** A request that may pass. */
export interface Acceptance {
  /** As the allow list has it. */
  readonly device: TrustedDevice;
  /** Of this request, 22 characters. */
  readonly nonce: string;
  /** As it was signed, in normal form. */
  readonly authority: string;
  /** By which the device was let in. */
  readonly list: AllowList;
  /** Whether the caller names this very device in AuthMesh-Target. */
  readonly isNamed: boolean;
}

export function toAcceptance({ device, credentials, line, list, view }: Verified): Acceptance {
  const isNamed = list.deviceId !== null && fieldValue(view.headers, 'authmesh-target') === list.deviceId;
  return { device, nonce: credentials.nonce, authority: line.authority, list, isNamed };
}
