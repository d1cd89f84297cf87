import { isAmeshError, partsOf } from '../../core/errors/amesh-error';

/** What `probe()` of a backend answers in the place of an error. One without a code is thrown: it is not about the key. */
export function notHere(error: unknown) {
  if (!isAmeshError(error)) throw error;
  return { available: false, reason: error.detail, advice: partsOf(error).advice };
}
