import { nodeCrypto } from '@authmesh/sdk/crypto/node';

/** Whether all of these are signatures of a message. */
export async function verifies(
  message: Uint8Array,
  publicKey: Uint8Array,
  signatures: readonly Uint8Array[],
): Promise<boolean> {
  const key = await nodeCrypto.importPublicKey(publicKey);
  const verdicts = await Promise.all(signatures.map((signature) => key.verify(signature, message)));
  return verdicts.every(Boolean);
}
