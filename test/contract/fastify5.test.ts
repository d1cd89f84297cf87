import { describe } from 'vitest';
import { fastifies, serve } from '../support/fastify';
import { fastifyApp } from './apps/fastify';
import { contractOf } from './contract';
import { Subject } from './subject';

const kind = fastifies[1];

describe(kind.name, () =>
  contractOf({
    name: kind.name,
    async start() {
      const { app, port } = await serve(await fastifyApp(kind, new Subject()));
      return { port, close: () => app.close() };
    },
  }),
);
