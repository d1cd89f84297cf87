import { AmeshError } from '../core/errors/amesh-error';
import type { KeyBackend } from './backend';
import { encryptedFile } from './encrypted-file';
import { KEY_CODES } from './errors/codes';
import { external } from './external';
import { lateBackend } from './late-backend';

/** All key backends that can make a key, the default first. */
export const BACKENDS: readonly KeyBackend[] = Object.freeze([
  encryptedFile,
  lateBackend({ id: 'tpm2', isOutsideProcess: true, mayAskPerson: false }, () =>
    import('./tpm2').then(({ tpm2 }) => tpm2),
  ),
  lateBackend({ id: 'ssh-agent', isOutsideProcess: true, mayAskPerson: true }, () =>
    import('./ssh-agent').then(({ sshAgent }) => sshAgent),
  ),
  lateBackend({ id: 'keychain', isOutsideProcess: false, mayAskPerson: false }, () =>
    import('./keychain').then(({ keychain }) => keychain),
  ),
  lateBackend({ id: 'secure-enclave', isOutsideProcess: true, mayAskPerson: false }, () =>
    import('./secure-enclave').then(({ secureEnclave }) => secureEnclave),
  ),
]);

/**
 * A key backend by its name: one of {@link BACKENDS}, or `external`.
 *
 * @throws AmeshError `key_backend_unavailable` for an unknown name
 */
export function findBackend(id: string): KeyBackend {
  const backend = [...BACKENDS, external].find((candidate) => candidate.id === id);
  if (backend !== undefined) return backend;
  throw new AmeshError(KEY_CODES.key_backend_unavailable, `There is no key backend ${JSON.stringify(id)}.`);
}
