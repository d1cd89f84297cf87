import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import express5 from 'express';
import express4 from 'express4';
import { fastifies, serve } from '../support/fastify';
import { listen } from '../support/listen';
import { startServer } from '../support/runtime-server';
import { findRuntime, type Runtime } from '../support/runtimes';
import { expressApp } from './apps/express';
import { fastifyApp } from './apps/fastify';
import { honoApp } from './apps/hono';
import type { ServerKind } from './contract';
import { Subject } from './subject';

const express = (name: string, framework: unknown): ServerKind => ({
  name,
  column: 'Express, Node',
  runtime: 'node',
  start: () => listen(expressApp(framework as typeof express5, new Subject())),
});

const fastify = (kind: (typeof fastifies)[number]): ServerKind => ({
  name: kind.name,
  column: 'Fastify',
  runtime: 'node',
  async start() {
    const { app, port } = await serve(await fastifyApp(kind, new Subject()));
    return { port, close: () => app.close() };
  },
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
  express4: express('Express 4', express4),
  express5: express('Express 5', express5),
  fastify4: fastify(fastifies[0]),
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
  honoBun: on('bun', 'hono', { removesDotSegments: true }),
  honoDeno: on('deno', 'hono'),
  honoWorkerd: on('workerd', 'hono'),
  fetchBun: on('bun', 'fetch', { removesDotSegments: true }),
  fetchDeno: on('deno', 'fetch'),
  fetchWorkerd: on('workerd', 'fetch'),
} satisfies Record<string, ServerKind>;
