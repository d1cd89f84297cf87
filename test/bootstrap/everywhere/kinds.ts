import { createAmesh } from '@authmesh/sdk';
import { getRequestListener } from '@hono/node-server';
import express5 from 'express';
import express4 from 'express4';
import { fastifies } from '../../support/fastify';
import { listen } from '../../support/listen';
import { startServer } from '../../support/runtime-server';
import { findRuntime, type Runtime } from '../../support/runtimes';
import { dispatch, dispatchNode, fetchApps, honoApps } from './apps';
import { expressApps, fastifyApps } from './node-apps';

/** A server of the applications of apps.ts, of one framework on one runtime. */
export interface Kind {
  readonly name: string;
  readonly runtime: Runtime['name'];
  readonly needsHosts?: boolean;
  /** @param dir the folder of the target */
  start(dir: string): Promise<{ port: number; close(): Promise<void> }>;
}

/** The instance of a target's folder. */
export const instance = (dir: string) => createAmesh({ dir, env: {}, onRefusal() {} });
const express = (name: string, framework: unknown): Kind => ({
  name,
  runtime: 'node',
  start: (dir) => listen(dispatchNode(expressApps(framework as typeof express5, instance(dir)))),
});
const fastify = (kind: (typeof fastifies)[number]): Kind => ({
  name: kind.name,
  runtime: 'node',
  start: async (dir) => listen(dispatchNode(await fastifyApps(kind, instance(dir)))),
});
const on = (runtime: Runtime['name'], server: 'hono' | 'fetch'): Kind => ({
  name: `${server === 'hono' ? 'Hono' : 'a fetch handler'} on ${runtime}`,
  runtime,
  needsHosts: true,
  start: async (dir) =>
    startServer(await findRuntime(runtime), `test/bootstrap/everywhere/servers/${server}.ts`, {
      env: { AUTH_MESH_DIR: dir },
    }),
});

export const KINDS: readonly Kind[] = [
  express('Express 5', express5),
  fastify(fastifies[1]),
  {
    name: 'Hono on node',
    runtime: 'node',
    start: (dir) => listen(getRequestListener(dispatch(honoApps(instance(dir))))),
  },
  {
    name: 'a fetch handler on node',
    runtime: 'node',
    needsHosts: true,
    start: (dir) => listen(getRequestListener(dispatch(fetchApps(instance(dir))))),
  },
  on('bun', 'fetch'),
  on('deno', 'fetch'),
];

/** What differs from one of those only in its version, or has its framework and its runtime from two of them. */
export const LIKE_OTHERS: readonly Kind[] = [
  express('Express 4', express4),
  fastify(fastifies[0]),
  on('bun', 'hono'),
  on('deno', 'hono'),
];
