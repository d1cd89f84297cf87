import { stringify } from 'node:querystring';
import { RedirectRefusedError } from '../../core/errors/amesh-error';
import type { RequestToSign, SignCallOptions, SignedRequest } from '../../core/sign/unsent/sign-unsent';
import { type HeaderValues, toHeaders } from '../../core/sign/unsent/values';
import { isPrivateChannel } from '../../core/wire/private-channel';
import { Exchange, type Handler } from './observed';

/** A dispatch of undici: sends a request, and passes the response to a handler. */
// biome-ignore lint/suspicious/noExplicitAny: the types of undici, in the version that the program has
export type Dispatch = (options: any, handler: any) => boolean;

/** The options of a request that a signature needs. */
interface DispatchOptions {
  readonly origin?: string | URL | undefined;
  readonly path: string;
  readonly query?: Record<string, never> | undefined;
  readonly method: string;
  readonly headers?: HeaderValues | readonly string[] | null | undefined;
  readonly body?: RequestToSign['body'];
  /** Or an EventEmitter, which has an event for it. */
  readonly signal?: unknown;
}

/** An instance of amesh, which signs. */
export interface Signing {
  /** See `Amesh.sign()`. */
  readonly sign: (request: RequestToSign, options?: SignCallOptions) => Promise<SignedRequest>;
}

/**
 * An interceptor for undici 7 and 8, which signs each request for a target in the allow list:
 * `new Agent().compose(signing(amesh))`. Put it before the interceptors that retry or redirect, so that each attempt is signed again. A body is
 * buffered. Answers are not proven: use `amesh.fetch` for that.
 *
 * If amesh refused a request for its time or key over https or loopback, it is signed and sent once more. A redirect is followed as
 * `amesh.fetch` does: within the origin, with GET or HEAD, over https or loopback; any other one fails with `redirect_refused`.
 *
 * @param amesh the instance that signs
 * @see docs/http-clients.md
 */
export function signing(amesh: Signing): (dispatch: Dispatch) => Dispatch {
  if (typeof amesh?.sign !== 'function') throw new TypeError('signing() takes an instance of amesh.');
  return (dispatch) => {
    // Interceptors that redirect or retry pass the same handler for each hop.
    const first = new WeakMap<object, URL>();
    return (options: DispatchOptions, handler: Handler) => {
      const url = urlOf(options);
      const from = first.get(handler);
      if (from === undefined) first.set(handler, url);
      const exchange = new Exchange(handler);
      const fail = (error: unknown) => exchange.fail(error);
      const attempt = async (which: 'first' | 'last') => {
        if (from !== undefined) assertHop(from, url, options.method);
        const { method, body } = options;
        const headers = sentHeaders(options.headers);
        const signal = options.signal instanceof AbortSignal ? options.signal : null;
        const signed = await amesh.sign({ url, method, headers, body }, { signal });
        if (exchange.isOver) return; // aborted while it was signed
        signal?.throwIfAborted();
        const { pathname, search } = new URL(signed.url);
        const resend =
          which === 'last' || !isRepeatable(options.body)
            ? undefined
            : () => void attempt('last').catch(fail);
        dispatch(
          {
            ...options,
            path: pathname + search,
            query: undefined,
            headers: Object.fromEntries(signed.headers),
            body: signed.body,
          },
          exchange.observe({ answered: signed.answered, resend }),
        );
      };
      attempt('first').catch(fail);
      return true;
    };
  };
}

function urlOf({ origin, path, query }: DispatchOptions): URL {
  if (origin === undefined) throw new TypeError('A request to sign needs an origin.');
  const text = query === undefined ? '' : stringify(query);
  return new URL(text === '' ? path : `${path}?${text}`, origin);
}

/** The headers without those that undici or amesh writes for the bytes that are sent. */
function sentHeaders(given: DispatchOptions['headers']): Headers {
  const lines = Array.isArray(given) && typeof given[0] !== 'object' ? pairs(given) : given;
  const headers = toHeaders((lines ?? {}) as HeaderValues);
  for (const name of ['content-length', 'content-digest', 'transfer-encoding', 'host']) headers.delete(name);
  return headers;
}

function pairs(flat: readonly unknown[]): [string, string][] {
  return flat.flatMap((name, i) => (i % 2 === 0 ? [[String(name), String(flat[i + 1])]] : []));
}

/** A server that redirects must not choose what this machine signs. */
function assertHop(from: URL, to: URL, method: string): void {
  if (from.href === to.href) return; // a retry
  if (from.origin !== to.origin)
    throw new RedirectRefusedError(
      to.href,
      'Nothing is signed for another server than the one that was called.',
    );
  if (method !== 'GET' && method !== 'HEAD')
    throw new RedirectRefusedError(to.href, `A ${method} request cannot be signed again for another URL.`);
  if (!isPrivateChannel(to))
    throw new RedirectRefusedError(
      to.href,
      'Over plain http, anybody in between could have written this redirect.',
    );
}

function isRepeatable(body: RequestToSign['body']): boolean {
  return body === null || body === undefined || typeof body === 'string' || ArrayBuffer.isView(body);
}
