import type { RequestListener } from 'node:http';
import type { Amesh } from '@authmesh/sdk';
import { authMesh, verify as fastifyVerify } from '@authmesh/sdk/fastify';
import type express from 'express';
import type { Express } from 'express';
import type { FastifyInstance } from 'fastify';
import type { fastifies } from '../../support/fastify';
import { type AppName, NOTHING } from './apps';

/** In Express, with parsers in front of everything. */
export function expressApps(framework: typeof express, amesh: Amesh): Record<AppName, RequestListener> {
  const [enrolling, plain] = [amesh.verify({ enroll: true }), amesh.verify()];
  const make = (build: (app: Express) => void): RequestListener => {
    const app = framework();
    app.use(framework.json({ verify: amesh.rawBody }), framework.text());
    build(app);
    app.use('/api', ({ authMesh }, response) => void response.send(`passed ${authMesh.friendlyName}`));
    app.use((_request, response) => void response.status(404).send(NOTHING));
    return app as unknown as RequestListener;
  };
  return {
    whole: make((app) => app.use(enrolling)),
    path: make((app) => app.use('/.well-known/amesh', enrolling).use('/api', plain)),
    nested: make((app) => {
      const mounted = framework();
      mounted.use(framework.Router().use('/amesh', enrolling));
      app.use('/.well-known', mounted).use('/api', plain);
    }),
    off: make((app) => app.use(plain)),
    none: make((app) => app.use('/api', plain)),
  };
}

/** In Fastify. */
export async function fastifyApps(
  { fastify }: (typeof fastifies)[number],
  amesh: Amesh,
): Promise<Record<AppName, RequestListener>> {
  const make = async (build: (app: FastifyInstance) => Promise<unknown>): Promise<RequestListener> => {
    const app = fastify() as FastifyInstance;
    await build(app);
    app.setNotFoundHandler((_request, reply) => reply.code(404).send(NOTHING));
    await app.ready();
    return app.routing as unknown as RequestListener;
  };
  const api = (scope: FastifyInstance) =>
    scope.get('/api', async ({ authMesh }) => `passed ${authMesh.friendlyName}`);
  const single = (app: FastifyInstance) =>
    app.get(
      '/api',
      { onRequest: fastifyVerify({ amesh }) },
      async ({ authMesh }) => `passed ${authMesh.friendlyName}`,
    );
  // A route that is never reached: the hook answers.
  const route = (scope: FastifyInstance, path: string) =>
    scope.post(path, { onRequest: fastifyVerify({ amesh, enroll: true }) }, async () => NOTHING);
  return {
    whole: await make(async (app) => {
      await app.register(authMesh, { amesh, enroll: true });
      api(app);
    }),
    path: await make(async (app) => {
      route(app, '/.well-known/amesh/enroll');
      single(app);
    }),
    nested: await make(async (app) => {
      await app.register(async (scope) => void route(scope, '/enroll'), { prefix: '/.well-known/amesh' });
      single(app);
    }),
    off: await make(async (app) => {
      await app.register(authMesh, { amesh });
      api(app);
    }),
    none: await make(async (app) => void single(app)),
  };
}
