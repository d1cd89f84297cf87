import { isAmeshError, partsOf } from '../../core/errors/amesh-error';

/** What `probe()` of a backend returns for an error. An error without a code is thrown again: it is not about the key. */
export function notHere(error: unknown) {
  if (!isAmeshError(error)) throw error;
  return { available: false, reason: error.detail, advice: partsOf(error).advice };
}
