import type { Verifier } from '../../core/verify/verify';
import { type AuthenticatedRequest, type HandlerResult, toFetchHandler } from './handler';

/** The context of a Worker's request. */
export interface ExecutionContext {
  /** Keeps the Worker running until a promise is settled, also behind the answer. */
  waitUntil(promise: Promise<unknown>): void;
  /** Lets the origin answer where the Worker throws. */
  passThroughOnException(): void;
}

/** The default export of a Worker: `fetch`, and whatever else it handles, which stays as it is. */
export interface WorkerModule<Env = unknown> {
  /** Handles a request that was verified, with `authMesh` on it. */
  fetch(request: AuthenticatedRequest, env: Env, ctx: ExecutionContext): HandlerResult;
  // biome-ignore lint/suspicious/noExplicitAny: scheduled, queue, email and the like, none of which matters here
  [handler: string]: any;
}

/** A {@link WorkerModule} that takes any request. */
export type ProtectedModule<M extends WorkerModule<never>> = Omit<M, 'fetch'> & {
  /** Verifies a request and hands it on, or answers with the refusal. */
  fetch(request: Request, env: Parameters<M['fetch']>[1], ctx: Parameters<M['fetch']>[2]): Promise<Response>;
};

/** What joins a handler with a verifier; `S` is what says which verifier. */
export interface WithAmesh<S> {
  /**
   * The default export of a Worker that lets through what a device of the allow list has signed:
   * `export default withAmesh({ fetch(request, env, ctx) { … request.authMesh … } })`.
   *
   * @throws TypeError for a wrong option
   */
  <Env>(module: WorkerModule<Env>, settings?: S): ProtectedModule<WorkerModule<Env>>;
  /**
   * The same for a handler that is a function of a request and whatever else its server passes on.
   *
   * @throws TypeError for a wrong option
   */
  <R extends Request, A extends unknown[]>(
    handler: (request: AuthenticatedRequest<R>, ...rest: A) => HandlerResult,
    settings?: S,
  ): (request: R, ...rest: A) => Promise<Response>;
}

/**
 * @param toSource makes of settings what gives the verifier, by the environment of a request
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

/** Also of Workers, where nodejs_compat is on. */
export function processEnv(): unknown {
  return (globalThis as { process?: { env?: unknown } }).process?.env;
}
