import { asSentence } from '../../core/errors/define-codes';
import { BACKENDS } from '../../keys/backends';
import { testKey } from '../../keys/test-key';
import type { FileStore } from '../../storage/files/file-store';
import type { Device } from '../../trust/device';
import { readIdentity } from '../../trust/identity';

/**
 * Tests the key of a server that verifies requests, and so seldom signs. Otherwise a wrong PIN or a missing key would be noticed
 * only when somebody pairs or revokes a device.
 *
 * @param tell receives one line if the key cannot be used. The function never throws, and no request waits for it
 */
export async function testOwnKey(
  store: FileStore,
  device: () => Promise<Device>,
  tell: (line: string) => void,
): Promise<void> {
  const identity = await readIdentity(store).catch(() => null); // a request reports what is wrong with the file
  const backend = BACKENDS.find(({ id }) => id === identity?.key.backend);
  if (!backend?.isOutsideProcess) return;
  const report = (what: string, until: string) => (error: unknown) =>
    tell(`The private key of this machine ${what}: ${asSentence((error as Error).message)} ${until}`);
  const opened = await device().catch(
    report('cannot be used', 'Until then every signed request gets 503, and this machine signs none.'),
  );
  if (opened === undefined) return;
  await testKey(backend, opened.signer).catch(
    report(
      'does not sign',
      'Until then nothing can change the allow list, and requests of this machine fail. It still verifies those of others.',
    ),
  );
}
