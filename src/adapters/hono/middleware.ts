import type { Context, MiddlewareHandler } from 'hono';
import type { Verifier } from '../../core/verify/verify';
import { refusal } from './refuse';
import { giveFreshRequest, giveStream, honoView } from './view';

/**
 * Verifies, then sets `authMesh` in the context, puts a fresh request with the verified bytes in the place of
 * `c.req.raw`, and goes on; or throws the refusal, as an HTTPException with its `res`.
 *
 * @param verifierOf gives what makes the verdicts, by the variables and bindings of each request: on some runtimes the
 *   settings come with it
 */
export function toHonoMiddleware(verifierOf: (env: unknown) => Verifier): MiddlewareHandler {
  return async (c, next) => {
    const view = honoView(c);
    const verdict = await verifierOf(c.env).verify(view);
    if (!verdict.ok) throw refusal(c, verdict);
    if (verdict.stream === undefined) giveFreshRequest(c, view, verdict.request.body);
    else if (verdict.stream !== null) giveStream(c, view, verdict.stream);
    c.set('authMesh', verdict.caller);
    const prepare = () => {
      markPrivate(c);
      for (const [name, value] of Object.entries(verdict.headers ?? {})) c.header(name, value);
    };
    prepare();
    await next();
    // A handler that returns a Response of its own has taken the headers away that were prepared for it.
    if (!c.res.headers.has('cache-control')) prepare();
    return undefined;
  };
}

/** What was allowed for one caller is not for a shared cache. The handler may say otherwise after this. */
function markPrivate(c: Context): void {
  c.header('Cache-Control', 'private');
  c.header('Vary', 'Authorization', { append: true });
  c.header('Vary', 'Signature-Input', { append: true });
}
