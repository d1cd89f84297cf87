import type { Verifier } from '../../core/verify/verify';
import { type AuthenticatedRequest, type HandlerResult, toFetchHandler } from './handler';

/** The context of a Worker's request. */
export interface ExecutionContext {
  /** Keeps the Worker running until a promise settles, even after the response. */
  waitUntil(promise: Promise<unknown>): void;
  /** Lets the origin respond if the Worker throws. */
  passThroughOnException(): void;
}

/** The default export of a Worker: `fetch`, and other handlers, which stay unchanged. */
export interface WorkerModule<Env = unknown> {
  /** Handles a verified request, which has `authMesh`. */
  fetch(request: AuthenticatedRequest, env: Env, ctx: ExecutionContext): HandlerResult;
  // biome-ignore lint/suspicious/noExplicitAny: scheduled, queue, email and others, which stay as they are
  [handler: string]: any;
}

/** A {@link WorkerModule} that accepts any request. */
export type ProtectedModule<M extends WorkerModule<never>> = Omit<M, 'fetch'> & {
  /** Verifies a request and passes it on, or responds with the refusal. */
  fetch(request: Request, env: Parameters<M['fetch']>[1], ctx: Parameters<M['fetch']>[2]): Promise<Response>;
};

/** Combines a handler with a verifier; `S` is the type of its settings. */
export interface WithAmesh<S> {
  /**
   * The default export of a Worker that accepts only requests signed by a device in the allow list:
   * `export default withAmesh({ fetch(request, env, ctx) { … request.authMesh … } })`.
   *
   * @throws TypeError for a wrong option
   */
  <Env>(module: WorkerModule<Env>, settings?: S): ProtectedModule<WorkerModule<Env>>;
  /**
   * The same for a handler function, which receives the request and all other arguments of its server.
   *
   * @throws TypeError for a wrong option
   */
  <R extends Request, A extends unknown[]>(
    handler: (request: AuthenticatedRequest<R>, ...rest: A) => HandlerResult,
    settings?: S,
  ): (request: R, ...rest: A) => Promise<Response>;
}

/**
 * @param toSource returns the verifier for settings, and for the environment of a request
 */
export function createWithAmesh<S>(toSource: (settings?: S) => (env: unknown) => Verifier): WithAmesh<S> {
  function withAmesh(handler: WorkerModule | WorkerModule['fetch'], settings?: S) {
    const source = toSource(settings);
    if (typeof handler === 'function') return toFetchHandler(() => source(processEnv()), handler);
    if (typeof handler?.fetch !== 'function')
      throw new TypeError('withAmesh() takes a function, or an object with fetch().');
    return {
      ...handler,
      fetch: toFetchHandler<[unknown, ExecutionContext]>(
        ([env]) => source(env),
        (request, env, ctx) => handler.fetch(request, env, ctx),
      ),
    };
  }
  return withAmesh as unknown as WithAmesh<S>;
}

/** `process.env`, also on Workers with nodejs_compat. */
export function processEnv(): unknown {
  return (globalThis as { process?: { env?: unknown } }).process?.env;
}
