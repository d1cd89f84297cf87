import { AmeshError } from '../core/errors/amesh-error';
import type { KeyBackend } from './backend';
import { encryptedFile } from './encrypted-file';
import { KEY_CODES } from './errors/codes';
import { external } from './external';
import { keychain } from './keychain';
import { secureEnclave } from './secure-enclave';
import { sshAgent } from './ssh-agent';
import { tpm2 } from './tpm2';

/** All key backends that can make a key, the default first. */
export const BACKENDS: readonly KeyBackend[] = Object.freeze([
  encryptedFile,
  tpm2,
  sshAgent,
  keychain,
  secureEnclave,
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
