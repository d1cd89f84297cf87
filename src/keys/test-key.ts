import type { Signer } from '../core/crypto/provider';
import type { KeyBackend } from './backend';

const MESSAGE = new TextEncoder().encode('amesh tests its key');

/**
 * Signs once with a key outside this process: only that shows a wrong PIN, for example. A key that may ask a person is not tested,
 * and a key in this process was tested when it was opened.
 *
 * @throws AmeshError of the key backend, such as `pin_wrong`, `key_lost`
 */
export async function testKey(backend: KeyBackend, signer: Signer): Promise<void> {
  if (backend.isOutsideProcess && !backend.mayAskPerson) await signer.sign(MESSAGE);
}
