import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import type { RequestView, Verifier } from '@authmesh/sdk/core';
import type { RequestHandler } from 'express';
import type { FastifyInstance } from 'fastify';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { toHook } from '../../src/adapters/fastify/hook';
import { fastifies, serve } from './fastify';
import { frameworks } from './frameworks';
import { latest } from './full';
import { connectHttp2 } from './http2';
import { listen } from './listen';
import { type BodyAfter, type ReceivedAnswer, receive, signings } from './proofs';

/** A handler by what Node has, for every server that stands on it. */
export type NodeHandler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A server behind verify(), on a free loopback port. */
export interface ProvingServer {
  readonly port: number;
  /** Sends a request, and reads the whole answer. */
  ask(request: RequestView, bodyAfter?: BodyAfter): Promise<ReceivedAnswer>;
  /** Sends a request, and tells all that comes over the wire, without what changes with the time; HTTP/2 decoded. */
  sees(request: RequestView): Promise<string>;
  close(): Promise<void>;
}

/** A kind of server whose handlers see Node's own response. */
export interface ProvingKind {
  readonly name: string;
  start(verifier: Verifier, handler: NodeHandler): Promise<ProvingServer>;
}

const overHttp1 = (server: { readonly port: number; close(): Promise<unknown> }): ProvingServer => ({
  port: server.port,
  ask: (request, bodyAfter) => receive(server.port, request, bodyAfter),
  sees: (request) => rawAnswer(server.port, request),
  close: async () => void (await server.close()),
});

/** Every server on Node that signs its answers. */
export const provingKinds: readonly ProvingKind[] = [
  ...latest(frameworks).map(({ name, express }) => ({
    name,
    async start(verifier: Verifier, handler: NodeHandler) {
      const app = express();
      app.use(
        toMiddleware(verifier) as RequestHandler,
        ((request, response, next) => {
          Promise.resolve(handler(request, response)).catch(next);
        }) as RequestHandler,
      );
      return overHttp1(await listen(app as never));
    },
  })),
  {
    name: 'node:http',
    async start(verifier, handler) {
      const verify = toMiddleware(verifier);
      return overHttp1(
        await listen((request, response) => verify(request, response, () => void handler(request, response))),
      );
    },
  },
  {
    name: 'node:http2',
    async start(verifier, handler) {
      const verify = toMiddleware(verifier);
      const pair = await connectHttp2(
        createServer((request, response) =>
          verify(request, response, () => void handler(request as never, response as never)),
        ),
      );
      return {
        port: pair.port,
        ask: (request, bodyAfter) => receiveHttp2(pair.session, request, bodyAfter),
        async sees(request) {
          const { status, headers, body } = await receiveHttp2(pair.session, request);
          return undated(JSON.stringify([status, headers, Buffer.from(body).toString('latin1')]));
        },
        close: () => pair.close(),
      };
    },
  },
  ...latest(fastifies).map(({ name, fastify }) => ({
    name,
    async start(verifier: Verifier, handler: NodeHandler) {
      const app = fastify() as FastifyInstance;
      app.removeAllContentTypeParsers();
      app.addContentTypeParser('*', (_request, _body, done) => done(null));
      app.addHook('onRequest', toHook(verifier));
      app.all('/*', async (request, reply) => {
        reply.hijack();
        // What Fastify keeps by itself until the end.
        for (const [name, value] of Object.entries(reply.getHeaders()))
          if (!reply.raw.headersSent) reply.raw.setHeader(name, value as string);
        await handler(request.raw, reply.raw);
      });
      const { port } = await serve(app);
      const close = () => {
        app.server.closeAllConnections(); // it would wait for one that is idle only after it has begun to close
        return app.close();
      };
      return overHttp1({ port, close });
    },
  })),
];

/** Each kind with each way of signing. */
export const kindsAndSignings = provingKinds.flatMap((kind) =>
  signings.map(({ when, isLater }) => ({
    ...kind,
    kind: kind.name,
    name: `${kind.name}, signed ${when}`,
    isLater,
  })),
);

async function receiveHttp2(
  session: import('node:http2').ClientHttp2Session,
  { method, target, authority, headers, body }: RequestView,
  bodyAfter?: BodyAfter,
): Promise<ReceivedAnswer> {
  const stream = session.request({
    ':method': method,
    ':path': target,
    ':authority': authority,
    ...(headers as Record<string, string>),
  });
  const answering = new Promise<IncomingHttpHeaders & { ':status'?: number }>((resolve, reject) => {
    stream.on('response', resolve).on('error', reject);
  });
  await bodyAfter?.();
  stream.end(body as Uint8Array | undefined);
  const head = await answering;
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const headersOnly = Object.entries(head).filter(([name]) => !name.startsWith(':'));
  return {
    status: head[':status'] ?? 0,
    headers: Object.fromEntries(headersOnly) as Record<string, string>,
    body: Buffer.concat(chunks),
  };
}

async function rawAnswer(port: number, request: RequestView): Promise<string> {
  const { method, target, authority, headers } = request;
  const body = (request.body as Uint8Array | undefined) ?? new Uint8Array();
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  if (body.length > 0) lines.push(`content-length: ${body.length}`);
  const socket = connect(port, '127.0.0.1');
  socket.write(
    [`${method} ${target} HTTP/1.1`, `Host: ${authority}`, 'Connection: close', ...lines, '', ''].join(
      '\r\n',
    ),
  );
  socket.write(body);
  return undated(Buffer.concat(await socket.toArray()).toString('latin1'));
}

const undated = (text: string) => text.replace(/[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT/, 'now');
