/** Whether the platform makes a `Request` of this method with a body. Some servers give one to any method. */
export function takesBody(method: string): boolean {
  return !/^(get|head)$/i.test(method);
}

/**
 * A request with another body in the place of one that was read or is read elsewhere. It is of the platform's own class,
 * and shows whatever else was on the first one.
 *
 * @param body not used for GET and HEAD
 */
export function toFreshRequest(request: Request, body: Uint8Array | ReadableStream<Uint8Array>): Request {
  const init = { body, duplex: 'half' } as RequestInit;
  return keepOthers(takesBody(request.method) ? renewed(request, init) : copyOf(request), request);
}

/** A request like another one, but for what `init` says. */
export function renewed(request: Request, init: RequestInit): Request {
  try {
    return new Request(request, init);
  } catch {
    return copyOf(request, init); // it is of another class or realm, or a Proxy, whose private fields nobody reaches
  }
}

/** Made of what everybody can read. */
function copyOf(request: Request, init: RequestInit = {}): Request {
  const { url, method, headers, signal, cf } = request as Request & { cf?: unknown };
  const own = signal instanceof AbortSignal ? signal : null;
  // cf: what Cloudflare knows of the connection
  return new Request(url, {
    method,
    headers: [...headers],
    signal: own,
    cf,
    ...init,
  } as RequestInit);
}

/** What a framework has put on a request (`cookies`, `params`, `nextUrl`) is read there, and called there. */
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
