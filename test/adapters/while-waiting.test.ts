import { createServer as createHttp2Server } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { streamUnverifiedBody } from '@authmesh/sdk/core';
import express, { type RequestHandler } from 'express';
import { type FastifyInstance, fastify } from 'fastify';
import { describe, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { toHook } from '../../src/adapters/fastify/hook';
import { signed, verifierAt } from '../support/core';

import { connectHttp2 } from '../support/http2';
import { listen } from '../support/listen';
import { receive } from '../support/proofs';

const post = () =>
  signed({ method: 'POST', headers: { 'content-type': 'text/plain' }, body: Buffer.from('abc') });
const STREAMED = { [streamUnverifiedBody]: true } as const;

describe('a streamed body that is there before it is verified', () => {
  it.each(['after its head', 'with its head'])(
    'is there for a second verify(), too, which reads it: %s',
    async (when) => {
      const seen: string[] = [];
      const app = express().use(
        toMiddleware(verifierAt(STREAMED)) as RequestHandler,
        toMiddleware(verifierAt({ onRefusal: ({ code }) => void seen.push(code) })) as RequestHandler,
        express.text(),
        (request, response) => void response.end(request.body),
      );
      const server = await listen(app as never);
      const after = when === 'with its head' ? undefined : () => sleep(50);
      const { status, body } = await receive(server.port, await post(), after);
      await server.close();
      expect([seen, status, Buffer.from(body).toString()]).toEqual([[], 200, 'abc']);
    },
  );

  it('is not blamed on the client if somebody in front of verify() has read it', async () => {
    const codes: string[] = [];
    const app = express().use(
      (request, _response, next) => {
        request.on('data', () => {});
        next();
      },
      toMiddleware(
        verifierAt({ ...STREAMED, onRefusal: ({ code }) => void codes.push(code) }),
      ) as RequestHandler,
      (_request, response) => void response.end('in'),
    );
    const server = await listen(app as never);
    const { status } = await receive(server.port, await post());
    await server.close();
    expect([status, codes]).toEqual([500, ['body_parser_ordering_error']]);
  });
});

describe('over HTTP/2, a stream that its client has reset', () => {
  const counts = () => ({ entered: 0, closed: 0 });
  const kinds = {
    async 'node:http2'(count: ReturnType<typeof counts>) {
      const verify = toMiddleware(verifierAt());
      return connectHttp2(
        createHttp2Server((request, response) =>
          verify(request, response, () => {
            count.entered++;
            response.once('close', () => count.closed++);
          }),
        ),
      );
    },
    async Fastify(count: ReturnType<typeof counts>) {
      const server = createHttp2Server();
      const app = fastify({
        serverFactory(handler) {
          server.on('request', handler as never);
          return server as never;
        },
      }) as unknown as FastifyInstance;
      app.addHook('onRequest', toHook(verifierAt()));
      app.all('/*', (_request, reply) => {
        count.entered++;
        reply.raw.once('close', () => count.closed++);
        return new Promise(() => {});
      });
      await app.ready();
      return connectHttp2(server);
    },
  };

  it.each(Object.entries(kinds))('is heard of by each handler that runs: %s', async (_, start) => {
    const count = counts();
    const pair = await start(count);
    const streams = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const { method, target, authority, headers } = await signed();
        const head = { ':method': method, ':path': target, ':authority': authority };
        return () => pair.session.request({ ...head, ...(headers as Record<string, string>) });
      }),
    );
    for (const open of streams) {
      const stream = open();
      stream.on('error', () => {});
      stream.close(8);
    }
    await sleep(300);
    expect(count.closed).toBe(count.entered);
    await pair.close();
  });
});
