import type { Signer } from '../core/crypto/provider';
import type { KeyBackend } from './backend';

const MESSAGE = new TextEncoder().encode('amesh tests its key');

/**
 * Signs once with a key outside this process: a wrong PIN, for example, shows only then. A key that may ask a person is not
 * tested, and one in this process was tested when it was opened.
 *
 * @throws AmeshError of the key backend, such as `pin_wrong`, `key_lost`
 */
export async function testKey(backend: KeyBackend, signer: Signer): Promise<void> {
  if (backend.isOutsideProcess && !backend.mayAskPerson) await signer.sign(MESSAGE);
}
