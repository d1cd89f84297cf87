import { type Middleware, toMiddleware } from '../../adapters/express/middleware';
import { assertOptions } from '../../core/options';
import type { VerifyOptions } from '../../core/verify/options';
import type { Amesh } from '../amesh';
import { amesh } from './instance';

/** The options of `amesh.verify()`, and the instance to use. */
export interface AuthMeshOptions extends VerifyOptions {
  /** Default: the instance of this machine's folder. */
  readonly amesh?: Pick<Amesh, 'verifier'> | undefined;
}

/**
 * The same as `amesh.verify()`, as a named import. It also takes another instance: `verify({ amesh })`.
 *
 * @throws TypeError for a wrong option
 * @see docs/express.md
 */
export function verify(options: AuthMeshOptions = {}): Middleware {
  assertOptions('verify()', options);
  const { amesh: instance = amesh, ...rest } = options;
  return toMiddleware(instance.verifier(rest));
}
