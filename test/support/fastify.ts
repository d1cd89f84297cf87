import { createServer, type RequestListener } from 'node:http';
import multipart5 from '@fastify/multipart';
import fastify5, { type FastifyInstance } from 'fastify';
import multipart4 from 'fastify-multipart8';
import fastify4 from 'fastify4';

/** Both versions of Fastify that are supported, under one type: what the tests use is the same in both. */
export const fastifies = [
  {
    name: 'Fastify 4',
    fastify: fastify4 as unknown as typeof fastify5,
    multipart: multipart4 as never as typeof multipart5,
  },
  { name: 'Fastify 5', fastify: fastify5, multipart: multipart5 },
] as const;

/** An app of Fastify 5 without a port, and what serves its requests as soon as it is ready. */
export function withListener(): { readonly app: FastifyInstance; ready(): Promise<RequestListener> } {
  let listener: RequestListener | undefined;
  const app = fastify5({
    serverFactory(handler) {
      listener = handler as RequestListener;
      return createServer(listener);
    },
  }) as unknown as FastifyInstance;
  return {
    app,
    async ready() {
      await app.ready();
      return listener as RequestListener;
    },
  };
}

/** A Fastify app on a free loopback port. */
export interface Serving {
  readonly app: FastifyInstance;
  readonly port: number;
  /** `127.0.0.1:<port>` */
  readonly authority: string;
  /** `http://127.0.0.1:<port>` */
  readonly origin: string;
}

export async function serve(app: FastifyInstance): Promise<Serving> {
  const origin = await app.listen({ port: 0, host: '127.0.0.1' });
  const port = Number(new URL(origin).port);
  return { app, port, authority: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` };
}
