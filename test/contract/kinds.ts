import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import express5 from 'express';
import express4 from 'express4';
import { fastifies, serve } from '../support/fastify';
import { times } from '../support/full';
import { listen } from '../support/listen';
import { startServer } from '../support/runtime-server';
import { findRuntime, type Runtime } from '../support/runtimes';
import { expressApp } from './apps/express';
import { fastifyApp } from './apps/fastify';
import { honoApp } from './apps/hono';
import type { ServerKind } from './contract';
import { Subject } from './subject';

const LIKE_ANOTHER = { isLikeAnother: true };

const express = (name: string, framework: unknown, more = {}): ServerKind => ({
  name,
  column: 'Express, Node',
  runtime: 'node',
  start: () => listen(expressApp(framework as typeof express5, new Subject())),
  ...more,
});

const fastify = (kind: (typeof fastifies)[number], more = {}): ServerKind => ({
  name: kind.name,
  column: 'Fastify',
  runtime: 'node',
  async start() {
    const { app, port } = await serve(await fastifyApp(kind, new Subject()));
    return { port, close: () => app.close() };
  },
  ...more,
});

const on = (runtime: Runtime['name'], server: 'hono' | 'fetch', quirks = {}): ServerKind => ({
  name: `${server === 'hono' ? 'Hono' : 'a fetch handler'} on ${runtime}`,
  column: { node: '', bun: 'Bun', deno: 'Deno', workerd: 'Workers' }[runtime],
  runtime,
  start: async () =>
    startServer(
      await findRuntime(runtime),
      `test/contract/servers/${runtime === 'workerd' ? 'worker-' : ''}${server}.ts`,
    ),
  ...quirks,
});

/** Every server that is held to the contract. */
export const kinds = {
  express4: express('Express 4', express4, LIKE_ANOTHER),
  express5: express('Express 5', express5),
  fastify4: fastify(fastifies[0], LIKE_ANOTHER),
  fastify5: fastify(fastifies[1]),
  honoNode: {
    name: 'Hono on node',
    column: 'Hono on Node',
    runtime: 'node',
    start() {
      const subject = new Subject();
      return listen(
        getRequestListener(honoApp(subject, (options) => verify({ amesh: subject, ...options })).fetch),
      );
    },
    removesDotSegments: true,
  },
  honoBun: on('bun', 'hono', { removesDotSegments: true, ...LIKE_ANOTHER }),
  honoDeno: on('deno', 'hono', LIKE_ANOTHER),
  honoWorkerd: on('workerd', 'hono', { ...LIKE_ANOTHER, mayCutOff: true }),
  fetchBun: on('bun', 'fetch', { removesDotSegments: true }),
  fetchDeno: on('deno', 'fetch'),
  fetchWorkerd: on('workerd', 'fetch', { mayCutOff: true }),
} satisfies Record<string, ServerKind>;

/** One of each framework and of each runtime; where things are repeated as often as in CI, every one. */
export const kindsHere: readonly ServerKind[] = times<readonly ServerKind[]>(
  Object.values<ServerKind>(kinds).filter(({ isLikeAnother }) => !isLikeAnother),
  Object.values(kinds),
);
