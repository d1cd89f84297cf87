import { proveResponse } from '../../core/answers/prove-response';
import { withOwnHeaders } from '../../core/answers/proven-by';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { bunPort } from '../../core/wire/bun-port';

/** A request inside `withAmesh()`, with its caller and a readable body. */
export type AuthenticatedRequest<R extends Request = Request> = R & {
  /** The verified caller. */
  readonly authMesh: AuthMeshIdentity;
};

/** The result of a `fetch` handler. */
export type HandlerResult = Response | Promise<Response>;

/**
 * Calls the handler for verified requests, with their caller. All other arguments of the runtime are passed on.
 *
 * @param verifierOf returns the verifier for the arguments after the request, which contain the settings on some runtimes
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
      configurable: true, // a nested handler may set it again
      enumerable: true,
    });
    const response = await handler(authenticated as AuthenticatedRequest, ...rest);
    const type = response?.headers?.get?.('content-type') ?? undefined; // in a copy, Bun forgets the type of a blob
    return proveResponse(markPrivate(response, verdict.headers), verdict.proof, type);
  };
}

/** Keeps shared caches from serving one caller's response to others, unless the handler sets its own Cache-Control. */
function markPrivate(response: Response, more: Readonly<Record<string, string>> = {}): Response {
  // On Bun there is no response after a WebSocket upgrade, and a 101 cannot be copied.
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
  const copy = () => mark(withOwnHeaders(response));
  // Copied, since a handler may return the same response again and again. A response of another class or realm cannot be copied.
  if (response.constructor === Response) return copy();
  try {
    return mark(response);
  } catch {
    return copy(); // responses of `fetch()` and `Response.redirect()` are immutable
  }
}
