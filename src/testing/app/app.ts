import type { RequestListener, Server } from 'node:http';
import { throwIfAborted, untilAborted } from '../../core/abort';
import type { AppFetch } from './app-fetch';

/** The apps that a test can call without a port. None of them has to listen. */
export type TestApp =
  /** A fetch handler, or an app of Express or Connect, which is a function, too. */
  // biome-ignore lint/suspicious/noExplicitAny: each framework has its own types
  | ((request: any, ...rest: any[]) => unknown)
  /** Hono, Elysia, the default export of a Worker. */
  | {
      /** Handles a request. */
      // biome-ignore lint/suspicious/noExplicitAny: bindings and contexts differ
      fetch(request: Request, ...rest: any[]): Response | Promise<Response>;
    }
  /** node:http, or node:https. */
  | Server
  /** Fastify. */
  | {
      /** Loads its plugins. */
      ready(): PromiseLike<unknown>;
      /** Its server. */
      readonly server: object;
    }
  /** NestJS. */
  | {
      /** Sets up its modules. */
      init(): Promise<unknown>;
      /** Its server. */
      getHttpServer(): unknown;
    }
  /** Koa. */
  | {
      /** Its handler for node:http. */
      callback(): RequestListener;
    };

/**
 * Returns a function that calls an app.
 *
 * @throws TypeError for anything except a {@link TestApp}
 */
export function toAppFetch(app: TestApp): AppFetch {
  let found: Promise<AppFetch> | undefined;
  const kind = kindOf(app);
  return async (url, init) => {
    found ??= kind();
    return (await found)(url, init);
  };
}

// biome-ignore lint/suspicious/noExplicitAny: an app is recognised by its members
function kindOf(app: any): () => Promise<AppFetch> {
  const has = (...names: string[]) => names.every((name) => typeof app?.[name] === 'function');
  const load = () => import('./node-app');
  // Apps of Express and Connect are functions that call their own method `handle`.
  if (typeof app === 'function' && has('handle')) return async () => (await load()).handlerFetch(app);
  if (typeof app === 'function') return async () => handlerOf(app);
  if (has('fetch')) return async () => handlerOf((request) => app.fetch(request));
  if (has('init', 'getHttpServer'))
    return async () => {
      await app.init();
      // Nest on Fastify serves nothing before Fastify is ready.
      await app.getHttpAdapter?.().getInstance?.().ready?.();
      return (await load()).serverFetch(app.getHttpServer());
    };
  if (has('ready') && app.server !== undefined)
    return async () => {
      await app.ready();
      return (await load()).serverFetch(app.server);
    };
  if (has('callback')) return async () => (await load()).handlerFetch(app.callback());
  if (has('listen', 'emit')) return async () => (await load()).serverFetch(app);
  throw new TypeError(
    'This is not an app that a test can call: pass an app of Express, Connect, Fastify, Hono, Koa or NestJS, a server of node:http, or a fetch handler.',
  );
}

function handlerOf(handler: (request: Request) => unknown): AppFetch {
  return async (url, init) => {
    const streams = init.body instanceof ReadableStream ? { duplex: 'half' } : {};
    const { signal = null } = init;
    throwIfAborted(signal);
    const answering = toResponse(handler, new Request(url, { ...init, ...streams } as RequestInit));
    try {
      return endedBy(signal, await untilAborted(signal, answering));
    } catch (error) {
      // Nobody waits any more, but the app may still respond with a stream.
      void answering.then(({ body }) => body?.cancel(error)).catch(() => {});
      throw error;
    }
  };
}

async function toResponse(handler: (request: Request) => unknown, request: Request): Promise<Response> {
  const response = await handler(request);
  if (typeof (response as Response | undefined)?.headers?.get === 'function')
    return withLength(response as Response);
  throw new TypeError(
    'The app returned no Response. A function counts as a fetch handler: for a handler of node:http, give createServer(handler).',
  );
}

/** A response whose body breaks off once the signal is aborted, as it does over a connection. */
function endedBy(signal: AbortSignal | null, response: Response): Response {
  if (signal === null || response.body === null) return response;
  const { status, statusText, headers } = response;
  const body = response.body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal });
  return new Response(body, { status, statusText, headers });
}

/** A server would announce the length of a short response. By that, clients know that they may read a refusal. */
async function withLength(response: Response): Promise<Response> {
  const { status, statusText, headers } = response;
  const isStream = headers.get('content-type')?.startsWith('text/event-stream');
  if (status < 400 || isStream || headers.has('content-length')) return response;
  const bytes = await response.arrayBuffer();
  const told = new Headers(headers);
  told.set('content-length', String(bytes.byteLength));
  return new Response(bytes, { status, statusText, headers: told });
}
