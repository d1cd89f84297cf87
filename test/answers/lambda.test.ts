import type { Verifier } from '@authmesh/sdk/core';
import serverlessExpress from '@codegenie/serverless-express';
import awsLambdaFastify from '@fastify/aws-lambda';
import express, { type RequestHandler } from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { handle } from 'hono/aws-lambda';
import serverlessHttp from 'serverless-http';
import { beforeAll, describe, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { toPlugin } from '../../src/adapters/fastify/plugin';
import { toHonoMiddleware } from '../../src/adapters/hono/middleware';
import { hostOf, type LambdaHandler, lambdaSources, toEvent } from '../support/lambda';
import { asking, checked, provingVerifier, type ReceivedAnswer } from '../support/proofs';

const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0xff, 0xfe, 0x00, 0x80);
const COOKIES = ['a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'b=2'];

/** What a client gets of a handler's result, with all lines of its headers. */
function toReceived(result: unknown): ReceivedAnswer {
  const { statusCode, headers, multiValueHeaders, cookies, body, isBase64Encoded } = result as {
    statusCode: number;
    headers?: Record<string, string>;
    multiValueHeaders?: Record<string, string[]>;
    cookies?: string[];
    body?: string;
    isBase64Encoded?: boolean;
  };
  const lines: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries({ ...headers, ...multiValueHeaders, 'set-cookie': cookies }))
    if (value !== undefined) lines[name.toLowerCase()] = value;
  const many = multiValueHeaders?.['set-cookie'];
  if (many !== undefined) lines['set-cookie'] = many;
  return {
    status: statusCode,
    headers: lines,
    body: Buffer.from(body ?? '', isBase64Encoded ? 'base64' : 'utf8'),
  };
}

// biome-ignore lint/suspicious/noExplicitAny: what their types want of events and contexts differs, and what comes is the same
type Any = any;

const CONTEXT: Any = { awsRequestId: 'test', callbackWaitsForEmptyEventLoop: true };

function expressApp(verifier: Verifier): Any {
  const app = express();
  app.use(toMiddleware(verifier) as RequestHandler);
  app.get('/json', (_, response) => void response.json({ a: 'ü' }));
  app.get('/png', (_, response) => void response.type('image/png').send(Buffer.from(PNG)));
  app.get('/none', (_, response) => void response.status(204).end());
  app.get(
    '/cookies',
    (_, response) => void response.status(201).set('set-cookie', COOKIES).send('with cookies'),
  );
  app.use((_, response) => void response.status(404).json({}));
  return app;
}

async function fastifyApp(verifier: Verifier): Promise<Any> {
  const app = fastify();
  await app.register(toPlugin(() => verifier));
  app.get('/json', async () => ({ a: 'ü' }));
  app.get('/png', async (_, reply) => reply.type('image/png').send(Buffer.from(PNG)));
  app.get('/none', async (_, reply) => reply.code(204).send());
  app.get('/cookies', async (_, reply) => reply.code(201).header('set-cookie', COOKIES).send('with cookies'));
  return app;
}

function honoApp(verifier: Verifier): Any {
  const app = new Hono().use(toHonoMiddleware(() => verifier));
  app.get('/json', (c) => c.json({ a: 'ü' }));
  app.get('/png', (c) => c.body(PNG, 200, { 'content-type': 'image/png' }));
  app.get('/none', (c) => c.body(null, 204));
  app.get('/cookies', (c) => {
    for (const cookie of COOKIES) c.header('set-cookie', cookie, { append: true });
    return c.text('with cookies', 201);
  });
  app.get('/untyped', () => new Response(PNG));
  return app;
}

const adapters: Record<string, (verifier: Verifier) => Promise<LambdaHandler>> = {
  'serverless-http': async (verifier) => {
    const run = serverlessHttp(expressApp(verifier), { binary: ['image/png'] });
    return async (event) => run(event, CONTEXT);
  },
  '@codegenie/serverless-express': async (verifier) => {
    const run = serverlessExpress({
      app: expressApp(verifier),
      binarySettings: { contentTypes: ['image/png'] },
    });
    return async (event) => run(event, CONTEXT, () => {});
  },
  '@fastify/aws-lambda': async (verifier) => {
    const run = awsLambdaFastify(await fastifyApp(verifier), {
      binaryMimeTypes: ['image/png'],
      albMultiValueHeaders: true, // as a target group has to be set up, too: without it, lines are lost
    });
    return async (event) => run(event as Any, CONTEXT);
  },
  'hono/aws-lambda': async (verifier) => {
    const run = handle(honoApp(verifier)) as Any;
    return async (event) => run(event, {});
  },
};

describe.each(Object.entries(adapters))('%s proves its answers', (name, create) => {
  describe.each(lambdaSources)('%s', (source) => {
    let handler: LambdaHandler;
    beforeAll(async () => {
      handler = await create(await provingVerifier({ hosts: [hostOf(source)] }));
    });

    const cases = { '/json': 200, '/png': 200, '/none': 204, '/cookies': 201, '/nowhere': 404 };
    const all = name.startsWith('hono') ? { ...cases, '/untyped': 200 } : cases;
    it.each(Object.entries(all))('%s', async (target, status) => {
      const { request, expected } = await asking({ target, authority: hostOf(source) });
      const headers = Object.entries({ host: hostOf(source), ...request.headers });
      const answer = toReceived(await handler(toEvent({ method: 'GET', target, headers }, source)));
      expect(await checked(answer, expected)).toMatchObject({ status, proof: 'proven' });
      if (target === '/cookies') expect(answer.headers['set-cookie']).toEqual(COOKIES);
      if (target === '/png' || target === '/untyped') expect([...answer.body]).toEqual([...PNG]);
    });
  });
});
