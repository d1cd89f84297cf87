import type { MiddlewareHandler } from 'hono';
import type { Verifier } from '../../core/verify/verify';
import { toHonoMiddleware } from './middleware';

/**
 * Creates the `verify()` of a runtime.
 *
 * @param toSource returns the verifier for settings, and for the variables and bindings of a request
 */
export function createVerify<Settings extends object>(
  toSource: (settings: Settings) => (env: unknown) => Verifier,
): (settings?: Settings) => MiddlewareHandler {
  return (settings = {} as Settings) => {
    if ('req' in settings)
      throw new TypeError('verify() was given a context. Call it when you mount it: app.use(verify()).');
    return toHonoMiddleware(toSource(settings));
  };
}
