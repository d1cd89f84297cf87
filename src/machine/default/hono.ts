import type { MiddlewareHandler } from 'hono';
import { createVerify } from '../../adapters/hono/verify';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import { type ServerSettings, toVerifierSource } from './verifier-source';

declare module 'hono' {
  interface ContextVariableMap {
    /** The verified caller, behind `verify()`. */
    authMesh: AuthMeshIdentity;
  }
}

/**
 * A middleware for Hono on any runtime: `app.use('/api/*', verify())`. After it, `c.get('authMesh')` is the caller, and
 * handlers can read the body in any way.
 *
 * @throws TypeError for a wrong option
 * @see docs/hono.md
 */
export const verify: (settings?: ServerSettings) => MiddlewareHandler = createVerify(toVerifierSource);
