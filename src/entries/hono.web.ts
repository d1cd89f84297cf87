import type { MiddlewareHandler } from 'hono';
import { toHonoMiddleware } from '../adapters/hono/middleware';
import type { ServerSettings } from '../machine/verifier-source';
import { toVerifierSource } from '../machine/verifier-source.web';

/**
 * A middleware for Hono on any runtime: `app.use('/api/*', verify())`. Behind it `c.get('authMesh')` is the caller, and
 * the body can be read in every way.
 *
 * @throws TypeError for a wrong option
 * @see docs/hono.md
 */
export function verify(settings: ServerSettings = {}): MiddlewareHandler {
  if ('req' in settings)
    throw new TypeError('verify() was given a context. Mount it with its parentheses: app.use(verify()).');
  const source = toVerifierSource(settings);
  return toHonoMiddleware((c) => source(c.env));
}

export { streamUnverifiedBody } from '../core/verify/options';
export type { ServerOptions, ServerSettings } from '../machine/verifier-source';
