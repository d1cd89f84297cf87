import { type DeviceIdentity, findBackend, testKey } from '@authmesh/sdk/admin/list';
import { type AmeshCode, fixWith, isAmeshError, type Signer } from '@authmesh/sdk/core';
import { commandHere } from '../words/here';

/** Why a key does not sign. */
export interface KeyFault {
  readonly code: AmeshCode;
  readonly message: string;
  readonly hint: string;
}

/** Why the key of this machine does not sign; undefined if it does, or if testing it could ask a person. */
export async function keyFaultOf({
  identity,
  signer,
}: {
  readonly identity: DeviceIdentity;
  readonly signer: Signer;
}): Promise<KeyFault | undefined> {
  try {
    await testKey(findBackend(identity.key.backend), signer);
    return undefined;
  } catch (error) {
    if (!isAmeshError(error)) throw error;
    return { code: error.code, message: error.detail, hint: fixWith(error, commandHere) };
  }
}
