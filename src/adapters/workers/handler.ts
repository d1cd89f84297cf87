import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { bunPort } from '../../core/wire/bun-port';

/** A request behind `withAmesh()`: it knows its caller, and its body can be read. */
export type AuthenticatedRequest<R extends Request = Request> = R & {
  /** The verified caller. */
  readonly authMesh: AuthMeshIdentity;
};

/** What a `fetch` handler gives. */
export type HandlerResult = Response | Promise<Response>;

/**
 * Lets through what is verified, as a request that knows its caller; whatever else a runtime passes to a handler is
 * passed on.
 *
 * @param verifierOf makes the verdicts; gets what stands behind the request, since some runtimes bring settings there
 */
export function toFetchHandler<A extends unknown[]>(
  verifierOf: (rest: A) => Verifier,
  handler: (request: AuthenticatedRequest, ...rest: A) => HandlerResult,
): (request: Request, ...rest: A) => Promise<Response> {
  return async (request, ...rest) => {
    const verdict = await verifierOf(rest).verify(request, { localPort: bunPort(rest[0]) });
    if (!verdict.ok) return verdict.response;
    const authenticated = Object.defineProperty(verdict.request, 'authMesh', {
      value: verdict.caller,
      configurable: true, // by another handler inside this one
      enumerable: true,
    });
    return markPrivate(await handler(authenticated as AuthenticatedRequest, ...rest), verdict.headers);
  };
}

/** What was allowed for one caller is not for a shared cache, unless the handler has said something of caches itself. */
function markPrivate(response: Response, more: Readonly<Record<string, string>> = {}): Response {
  // Bun has no response where a handler has upgraded the connection, and 101 is none that could be copied.
  if (typeof response?.headers?.set !== 'function' || response.status < 200) return response;
  const isMarked = response.headers.has('cache-control');
  const added = Object.entries(more);
  if (isMarked && added.length === 0) return response;
  const mark = (own: Response) => {
    for (const [name, value] of added) own.headers.set(name, value);
    if (isMarked) return own;
    own.headers.set('cache-control', 'private');
    own.headers.append('vary', 'Authorization, Signature-Input');
    return own;
  };
  const copy = () => mark(new Response(response.body, response));
  // A handler may give one of its own again and again. Of another class or realm it is no other to be made.
  if (response.constructor === Response) return copy();
  try {
    return mark(response);
  } catch {
    return copy(); // those of `fetch()` and `Response.redirect()` cannot be changed
  }
}
