import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, get } from 'node:https';
import type { Socket } from 'node:net';
import express, { type RequestHandler } from 'express';
import { type FastifyInstance, fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { toHook } from '../../src/adapters/fastify/hook';
import type { Verifier } from '../../src/core/verify/verify';
import type { HeaderLines, RequestView } from '../../src/core/wire/view';
import { createCertificate } from '../support/certificate';
import { type Script, toScript } from '../support/child';
import { eachByItself } from '../support/each-by-itself';
import { inPairs } from '../support/in-pairs';
import { listen } from '../support/listen';
import { asking, checked, provingVerifier, receive, signings } from '../support/proofs';

/** Sends a request, and another one at the same time. */
async function receiveWithOther(port: number, request: RequestView) {
  const companion = await asking({ target: COMPANION });
  void receive(port, companion.request).catch(() => {}); // its connection may end without an answer
  return receive(port, request);
}

/** What a program may do directly after it has ended its response. */
type After = (request: IncomingMessage, response: ServerResponse, server: Server) => unknown;

const BODY = 'bye';

/** The path of a request that makes the server busy, so that answers wait for each other. */
const COMPANION = '/companion';

/** Each ends the response, and then calls the function, in the same step. Its requests arrive in pairs. */
const kinds: {
  readonly name: string;
  start(verifier: Verifier, after: After): Promise<{ server: Server; port: number }>;
}[] = [
  {
    name: 'node:http',
    async start(verifier, after) {
      const verify = toMiddleware(verifier);
      return started((server) => (request, response) => {
        void verify(request, response, () => {
          response.end(BODY);
          if (request.url !== COMPANION) after(request, response, server());
        });
      });
    },
  },
  {
    name: 'Express 5',
    start: (verifier, after) =>
      started(
        (server) =>
          express().use(toMiddleware(verifier) as RequestHandler, (request, response) => {
            response.send(BODY);
            if (request.url !== COMPANION) after(request, response, server());
          }) as never,
      ),
  },
  {
    name: 'Fastify 5',
    async start(verifier, after) {
      let server: Server | undefined;
      const app = fastify({
        serverFactory: (handler) => {
          server = createServer(inPairs(handler as never));
          return server;
        },
      }) as unknown as FastifyInstance;
      app.addHook('onRequest', toHook(verifier));
      app.get('/*', (request, reply) => {
        reply.send(BODY);
        if (request.url !== COMPANION) after(request.raw, reply.raw, server as Server);
      });
      await app.ready();
      return listening(server as Server);
    },
  },
];

async function started(
  handlerOf: (server: () => Server) => (request: IncomingMessage, response: ServerResponse) => void,
) {
  const server: Server = createServer(inPairs(handlerOf(() => server)));
  return listening(server);
}

async function listening(server: Server) {
  const { port } = await listen(server);
  return { server, port };
}

const ends: Record<string, After> = {
  'server.close()': (_request, _response, server) => server.close(),
  'server.closeIdleConnections()': (_request, _response, server) => server.closeIdleConnections(),
};
const endsAtOnce: Record<string, After> = {
  'server.closeAllConnections()': (_request, _response, server) => server.closeAllConnections(),
  'socket.end()': ({ socket }) => socket.end(),
  'socket.destroySoon()': ({ socket }) => (socket as Socket).destroySoon(),
  'socket.destroy()': ({ socket }) => socket.destroy(),
  'request.destroy()': (request) => request.destroy(),
  'response.destroy()': (_request, response) => response.destroy(),
};

const cases = kinds.flatMap((kind) =>
  signings.flatMap(({ when, isLater }) =>
    Object.entries({ ...ends, ...(isLater ? {} : endsAtOnce) }).map(
      ([call, after]) => [call, kind.name, when, { kind, isLater, after }] as const,
    ),
  ),
);

it.each(cases)('%s after the end loses no answer: %s, signed %s', async (_call, _name, _when, given) => {
  const { kind, isLater, after } = given;
  const { server, port } = await kind.start(await provingVerifier({ isLater }), after);
  const { request, expected } = await asking();
  const answer = await checked(await receiveWithOther(port, request), expected);
  expect([answer.proof, answer.text]).toEqual(['proven', BODY]);
  server.close();
  server.closeAllConnections();
});

it.each(Object.entries({ ...ends, ...endsAtOnce }))(
  '%s after the end loses no answer over TLS',
  async (_call, after) => {
    const verify = toMiddleware(await provingVerifier());
    const server: Server = createTlsServer(
      createCertificate(),
      inPairs((request, response) => {
        void verify(request, response, () => {
          response.end(BODY);
          if (request.url !== COMPANION) after(request, response, server);
        });
      }),
    );
    const { port } = await listen(server);
    const ask = async ({ target, authority, headers }: RequestView & { headers: Record<string, string> }) =>
      once(
        get({
          host: '127.0.0.1',
          port,
          path: target,
          headers: { host: authority, ...headers },
          agent: false,
          rejectUnauthorized: false,
        }),
        'response',
      ) as Promise<[IncomingMessage]>;
    const { request, expected } = await asking();
    ask((await asking({ target: COMPANION })).request).catch(() => {}); // its connection may end without an answer
    const [answer] = await ask(request);
    const body = Buffer.concat(await answer.toArray());
    const received = { status: answer.statusCode ?? 0, headers: answer.headers as HeaderLines, body };
    const { proof, text } = await checked(received, expected);
    expect([proof, text]).toEqual(['proven', BODY]);
    server.close();
    server.closeAllConnections();
  },
);

it('closing idle connections again and again adds one listener to an answer whose key takes time', async () => {
  const node = kinds[0] as (typeof kinds)[number];
  const counts: number[] = [];
  const { server, port } = await node.start(
    await provingVerifier({ isLater: true }),
    (_request, response, server) => {
      const before = response.listenerCount('finish');
      for (let i = 0; i < 20; i++) server.closeIdleConnections();
      counts.push(response.listenerCount('finish') - before);
    },
  );
  const { request, expected } = await asking();
  const answer = await checked(await receiveWithOther(port, request), expected);
  expect([answer.proof, counts]).toEqual(['proven', [1]]);
  server.close();
  server.closeAllConnections();
});

it('a buffer that is used again after the end changes nothing', async () => {
  const shared = Buffer.from(BODY);
  const verify = toMiddleware(await provingVerifier());
  const server = await listen(
    inPairs((request, response) =>
      verify(request, response, () => {
        shared.write(BODY);
        response.end(shared);
        shared.fill('x');
      }),
    ),
  );
  const { request, expected } = await asking();
  const answer = await checked(await receiveWithOther(server.port, request), expected);
  await server.close();
  expect([answer.proof, answer.text]).toEqual(['proven', BODY]);
});

const COUNT = 4;
const numbers = Array.from({ length: COUNT }, (_, number) => number);

describe.each(kinds.filter(({ name }) => name !== 'Fastify 5'))('answers that wait together on $name', () => {
  it('are finished each in the context of its own request', async () => {
    const contexts = new AsyncLocalStorage<number>();
    const seen: unknown[] = [];
    const verify = toMiddleware(await provingVerifier());
    const waiting: [IncomingMessage, ServerResponse][] = [];
    const answer = ([request, response]: [IncomingMessage, ServerResponse], number: number) =>
      contexts.run(number, () =>
        verify(request, response, () => {
          const note = (event: string) => () => void seen.push([event, number, contexts.getStore()]);
          response.on('finish', note('finish'));
          response.end(BODY, note('end'));
        }),
      );
    const server = await listen((...pair) => {
      if (waiting.push(pair) < COUNT) return;
      const pairs = waiting.splice(0).map((one, number) => [one, number] as const);
      void eachByItself(pairs, ([one, number]) => void answer(one, number));
    });
    const answers = await Promise.all(
      numbers.map(async () => receive(server.port, (await asking()).request)),
    );
    await server.close();
    expect(answers.map(({ headers }) => 'signature' in headers)).toEqual(numbers.map(() => true));
    const expected = numbers.flatMap((number) => [
      ['end', number, number],
      ['finish', number, number],
    ]);
    expect(seen).toHaveLength(2 * COUNT);
    expect(seen).toEqual(expect.arrayContaining(expected));
  });
});

describe('a process that ends directly after the end of a response', () => {
  let script: Script;
  beforeAll(async () => {
    script = await toScript('test/answers/processes/ending-server.ts');
  });
  afterAll(() => script.remove());

  it.each([
    ['process.exit()', '/exit', 'alone'],
    ['an exception that nobody catches', '/throw', 'alone'],
    ['process.exit() in a thread', '/exit', 'in a thread'],
  ])('has sent its answer: %s', async (_what, target, where) => {
    const server = script.start([where]);
    const port = Number(await server.line('port '));
    const { request, expected } = await asking({ target });
    const answer = await checked(await receiveWithOther(port, request), expected);
    await server.ended;
    expect([answer.proof, answer.text]).toEqual(['proven', BODY]);
  });
});
