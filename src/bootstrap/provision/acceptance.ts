import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import { ROTATION_HEADER } from '../../core/rotation/field';
import type { StatementCache } from '../../core/statements/statement-cache';
import type { Verified } from '../../core/verify/checks';
import { fieldValue } from '../../core/wire/view';

/** An accepted request. */
export interface Acceptance {
  /** The device in the allow list that sent it. */
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
  /** Whether the device key itself has signed, and not a working key. */
  readonly isOwnKey: boolean;
  /** What the request says about the next key of the device, if anything. */
  readonly rotation: string | undefined;
  /** The working keys that the verifier knows. */
  readonly statements: Pick<StatementCache, 'has'>;
}

export function toAcceptance(request: Verified): Acceptance {
  const { context, device, credentials, line, list, view, statement } = request;
  const isNamed = list.deviceId !== null && fieldValue(view.headers, 'authmesh-target') === list.deviceId;
  return {
    device,
    nonce: credentials.nonce,
    authority: line.authority,
    list,
    isNamed,
    isDelegate: statement?.delegation !== undefined,
    isOwnKey: statement === undefined,
    rotation: fieldValue(view.headers, ROTATION_HEADER),
    statements: context.statements,
  };
}
