import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { together } from '#gather';
import type { AuthMeshIdentity } from '../../core/verify/verdict';
import type { Verifier } from '../../core/verify/verify';
import { proveAnswer } from '../node/answers/prove-answer';
import { refuse } from '../node/answers/refuse';
import { markPrivate } from '../node/mark-private';
import { isOver, type NodeRequest, type NodeResponse } from '../node/request';
import { nodeView } from '../node/view';
import { loosen } from './shape';

// This declaration comes with `/express`, and with the root and `/testing`, since `amesh.verify()` is a middleware of Express. No
// other entry may import it.
declare global {
  namespace Express {
    interface Request {
      /** The verified caller, after `amesh.verify()`. */
      authMesh: AuthMeshIdentity;
    }
  }
}

/** A middleware for Express 4 and 5, Connect, and handlers of node:http or the compatibility API of node:http2. */
export type Middleware = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
  // biome-ignore lint/suspicious/noExplicitAny: some servers have a callback that takes only an Error
  next: (error?: any) => void,
) => void;

/** A request after `amesh.verify()`, for servers without Express, whose types do not include it. */
export type Authenticated<R> = R & {
  /** The verified caller. */
  authMesh: AuthMeshIdentity;
};

type ExpressRequest = NodeRequest & {
  authMesh?: AuthMeshIdentity;
  readonly app?: { get?: (setting: string) => unknown };
};

/**
 * Verifies the request. Then it puts `authMesh` on the request and calls `next`, or sends the refusal.
 *
 * @param verifier decides
 */
export function toMiddleware(verifier: Verifier): Middleware {
  return (incoming, outgoing, next) => {
    const request = incoming as ExpressRequest;
    const response = outgoing as NodeResponse;
    if (typeof request.on !== 'function' || typeof request.headers !== 'object' || request.headers === null) {
      // For example in a Fastify hook: the caller accepts an error, and there is no response to send.
      const error = new TypeError(
        'verify() needs a Node request. For Fastify, use @authmesh/sdk/fastify. For Hono, use @authmesh/sdk/hono. For others, see docs/frameworks.md.',
      );
      if (typeof next !== 'function') throw error;
      next(error);
      return;
    }
    if (typeof next !== 'function')
      throw new TypeError('verify() needs a third argument: verify(request, response, next).');
    loosen(request, response);
    const restore = withoutClose(response, next);
    // Nothing is returned: Restify and hooks of Fastify take a promise that settles for another `next()`.
    void verify(verifier, request, response).then(
      (verdict) => {
        if (!verdict.ok) {
          refuse(request, response, verdict);
          restore();
          return;
        }
        if (isOver(response)) return;
        request.authMesh = verdict.caller;
        // A timeout may have answered in the meantime.
        if (!response.headersSent) {
          const headers = {
            get: (name: string) => response.getHeader(name),
            set: (name: string, value: string) => response.setHeader(name, value),
          };
          markPrivate(headers, verdict.headers);
          if (verdict.proof !== undefined) proveAnswer(request, response, verdict.proof);
        }
        next();
      },
      (error) => {
        fail(request, response, next, error);
        restore();
      },
    );
  };
}

/**
 * h3 1 takes the end of the connection for `next()`, also if the client leaves before it is verified.
 *
 * @returns restores that once there is a response, which h3 respects: its hooks then see the end of a refused request
 */
function withoutClose(response: NodeResponse, next: () => void): () => void {
  const http1 = response as ServerResponse;
  let isRemoved = false;
  // h3 adds the listener directly after this call. An imitation of a response may have no listeners.
  queueMicrotask(() => {
    isRemoved = http1.listeners?.('close')?.includes(next) === true;
    if (isRemoved) http1.off('close', next);
  });
  const add = () => void http1.once('close', next);
  return () => {
    if (!isRemoved) return;
    if (response.headersSent || response.writableEnded) add();
    else http1.once('finish', add);
  };
}

/** Async, so that it rejects instead of throwing into the server. */
async function verify(verifier: Verifier, request: ExpressRequest, response: NodeResponse) {
  const view = nodeView(request, response);
  const call = { trustForwardedHost: trustsProxy(request) };
  return together(() => verifier.verify(view, call));
}

/** Fails closed: outside of Express, the callback may ignore an error and treat any call as permission. */
function fail(
  request: ExpressRequest,
  response: NodeResponse,
  next: (error: unknown) => void,
  reason: unknown,
): void {
  const error = reason instanceof Error ? reason : new Error('amesh could not verify.', { cause: reason });
  if (typeof request.app?.get === 'function') {
    next(error);
    return;
  }
  console.error('amesh: a request could not be verified', error);
  const answer = { status: 500, headers: { 'cache-control': 'no-store' }, body: '' };
  refuse(request, response, { answer, bodyUnread: true });
}

/** In Express, the app's `trust proxy` decides; elsewhere the verifier's option. */
function trustsProxy(request: ExpressRequest): boolean | undefined {
  const trust = request.app?.get?.('trust proxy fn');
  if (typeof trust !== 'function') return undefined;
  return trust(request.socket?.remoteAddress, 0) === true || undefined;
}
