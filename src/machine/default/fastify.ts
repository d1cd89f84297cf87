import { type Hook, toHook } from '../../adapters/fastify/hook';
import { toPlugin } from '../../adapters/fastify/plugin';
import { assertOptions } from '../../core/options';
import type { VerifyOptions } from '../../core/verify/options';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { amesh } from './instance';

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified caller, in a scope of `authMesh` or behind `verify()`. */
    authMesh: AuthMeshIdentity;
  }
}

/** The options of `amesh.verify()`, and the instance to use. */
export interface AuthMeshOptions extends VerifyOptions {
  /** Default: the instance of this machine's folder. */
  readonly amesh?:
    | {
        /** See `Amesh.verifier()`. */
        readonly verifier: (options?: VerifyOptions) => Verifier;
      }
    | undefined;
}

/**
 * A plugin for Fastify 4 and 5: `await app.register(authMesh)`. It verifies the requests to every route in the scope that registers
 * it and in all nested scopes, including requests to unknown paths.
 *
 * @throws TypeError for a wrong option, from `register` or `ready`
 * @see docs/fastify.md
 */
export const authMesh = toPlugin<AuthMeshOptions>(toVerifier);

/**
 * A hook for single routes: `app.get('/orders', { onRequest: verify() }, handler)`.
 *
 * @throws TypeError for a wrong option
 */
export function verify(options: AuthMeshOptions = {}): Hook {
  return toHook(toVerifier(options));
}

function toVerifier(given: AuthMeshOptions): Verifier {
  assertOptions('verify()', given);
  const { amesh: instance = amesh, ...options } = given;
  if ('raw' in options)
    throw new TypeError('verify() was given a request. Call it in the route: { onRequest: verify() }.');
  return instance.verifier(options);
}
