/** Whether a `Request` of this method can be created with a body. Some servers create one for any method. */
export function takesBody(method: string): boolean {
  return !/^(get|head)$/i.test(method);
}

/**
 * A fresh request with another body, because the body of the original was read or is read elsewhere. It has the platform's own
 * class, and all other properties of the original.
 *
 * @param body ignored for GET and HEAD
 */
export function toFreshRequest(request: Request, body: Uint8Array | ReadableStream<Uint8Array>): Request {
  const init = { body, duplex: 'half' } as RequestInit;
  return keepOthers(takesBody(request.method) ? renewed(request, init) : copyOf(request), request);
}

/** A copy of a request with the changes in `init`. */
export function renewed(request: Request, init: RequestInit): Request {
  try {
    return new Request(request, init);
  } catch {
    return copyOf(request, init); // another class or realm, or a Proxy: its private fields are out of reach
  }
}

/** Copies a request through its public properties. */
function copyOf(request: Request, init: RequestInit = {}): Request {
  const { url, method, headers, signal, cf } = request as Request & { cf?: unknown };
  const own = signal instanceof AbortSignal ? signal : null;
  // cf: Cloudflare's data about the connection
  return new Request(url, {
    method,
    headers: [...headers],
    signal: own,
    cf,
    ...init,
  } as RequestInit);
}

/** Forwards properties that a framework added (`cookies`, `params`, `nextUrl`) to the original request. */
export function keepOthers(fresh: Request, request: Request): Request {
  for (let from: object | null = request; from !== null; from = Object.getPrototypeOf(from)) {
    for (const name of Object.getOwnPropertyNames(from)) {
      if (name in fresh) continue;
      const get = () => {
        const value = (request as unknown as Record<string, unknown>)[name];
        return typeof value === 'function' ? value.bind(request) : value;
      };
      Object.defineProperty(fresh, name, { configurable: true, get });
    }
  }
  return fresh;
}
