import { type DeviceIdentity, findBackend, testKey } from '@authmesh/sdk/admin';
import { fixWith, isAmeshError, type Signer } from '@authmesh/sdk/core';
import { commandHere } from '../words/here';

/** Why the key of this machine does not sign; undefined if it does, or if testing it could ask a person. */
export async function keyFaultOf({
  identity,
  signer,
}: {
  readonly identity: DeviceIdentity;
  readonly signer: Signer;
}) {
  try {
    await testKey(findBackend(identity.key.backend), signer);
    return undefined;
  } catch (error) {
    if (!isAmeshError(error)) throw error;
    return { code: error.code, message: error.detail, hint: fixWith(error, commandHere) };
  }
}
