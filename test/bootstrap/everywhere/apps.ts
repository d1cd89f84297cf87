import type { RequestListener } from 'node:http';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import { verify as honoVerify } from '@authmesh/sdk/hono';
import { type AuthenticatedRequest, withAmesh } from '@authmesh/sdk/workers';
import { Hono } from 'hono';

/** The applications of a server, of which a request chooses one by the header `x-app`. */
export const APPS = ['whole', 'path', 'nested', 'off', 'none'] as const;

/**
 * - `whole`: `verify({ enroll: true })` in front of everything
 * - `path`: for `/.well-known/amesh` alone, and `verify()` for `/api`
 * - `nested`: the same within an application that is mounted
 * - `off`: `verify()` in front of everything
 * - `none`: `verify()` for `/api` alone, and an answer of its own where nothing is
 */
export type AppName = (typeof APPS)[number];

export type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

/** What an application answers where nothing is. */
export const NOTHING = 'nothing here';

/** Chooses an application by the header. */
export function chooseApp<T>(apps: Readonly<Record<AppName, T>>, header: string | null | undefined): T {
  return apps[header as AppName] ?? apps.none;
}

/** In Hono, for any runtime with files. */
export function honoApps(amesh: Amesh = createAmesh()): Record<AppName, Fetch> {
  const [enrolling, plain] = [honoVerify({ amesh, enroll: true }), honoVerify({ amesh })];
  const make = (build: (app: Hono) => void): Fetch => {
    const app = new Hono();
    build(app);
    app.all('/api', (c) => c.text(`passed ${c.get('authMesh').friendlyName}`));
    app.notFound((c) => c.text(NOTHING, 404));
    return (request, env) => app.fetch(request, env as object);
  };
  return {
    whole: make((app) => app.use(enrolling)),
    path: make((app) => app.use('/.well-known/amesh/*', enrolling).use('/api', plain)),
    nested: make((app) =>
      app.route('/.well-known', new Hono().use('/amesh/*', enrolling)).use('/api', plain),
    ),
    off: make((app) => app.use(plain)),
    none: make((app) => app.use('/api', plain)),
  };
}

/** As plain `fetch` handlers, for any runtime with files. */
export function fetchApps(amesh: Amesh = createAmesh()): Record<AppName, Fetch> {
  const app = (request: AuthenticatedRequest) =>
    new URL(request.url).pathname === '/api'
      ? new Response(`passed ${request.authMesh.friendlyName}`)
      : new Response(NOTHING, { status: 404 });
  const enrolling: Fetch = withAmesh(app, { amesh, enroll: true });
  const plain: Fetch = withAmesh(app, { amesh });
  const isBelow = (request: Request, path: string) => new URL(request.url).pathname.startsWith(path);
  const path: Fetch = (request) => (isBelow(request, '/.well-known/amesh/') ? enrolling : plain)(request);
  return {
    whole: (request) => enrolling(request),
    path,
    nested: (request) => (isBelow(request, '/.well-known/') ? path(request) : plain(request)),
    off: (request) => plain(request),
    none: (request) => (isBelow(request, '/api') ? plain(request) : new Response(NOTHING, { status: 404 })),
  };
}

/** One handler for all applications. */
export function dispatch(apps: Readonly<Record<AppName, Fetch>>): Fetch {
  return (request, env) => chooseApp(apps, request.headers.get('x-app'))(request, env);
}

/** The same for those that listen on Node. */
export function dispatchNode(apps: Readonly<Record<AppName, RequestListener>>): RequestListener {
  return (request, response) => chooseApp(apps, request.headers['x-app'] as string)(request, response);
}
