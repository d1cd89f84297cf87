import { AmeshError, type AmeshErrorOptions } from '../../core/errors/amesh-error';
import { TRUST_CODES } from './codes';

/** `no_identity`: this machine has no identity yet. */
export class NoIdentityError extends AmeshError {
  /** The name of the class. */
  override readonly name = 'NoIdentityError';

  /**
   * The error for one folder.
   *
   * @param where the folder, or another place without an identity
   * @param options another fix than `amesh init`
   */
  constructor(where: string, options?: AmeshErrorOptions) {
    super(TRUST_CODES.no_identity, `There is no amesh identity in ${where}.`, options);
  }
}
