import { NonceStoreUnavailableError } from '../core/errors/amesh-error';

/** The error if the delegates of a device have as many nonces as they may have. */
export function tooManyNonces(most: number): NonceStoreUnavailableError {
  const number = most.toLocaleString('en-US');
  return new NonceStoreUnavailableError(
    `The delegates of one device have used ${number} nonces, all that they may have at once.`,
  );
}
