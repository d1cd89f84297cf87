import { failure } from './code-facts';
import type { MACHINE_CODES as All } from './machine-codes';

/** Without a machine there is one of them. */
export const MACHINE_CODES = Object.freeze({
  no_file_system: failure(
    'There is no file system here.',
    'Use createClient() or createVerifier() of @authmesh/sdk/core with a key of your own.',
  ),
}) as unknown as typeof All;
