import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { type AnswerSigner, createClient, InMemoryNonceStore } from '@authmesh/sdk/core';
import { getRequestListener } from '@hono/node-server';
import express, { type RequestHandler } from 'express';
import { Hono } from 'hono';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import { toHook } from '../../src/adapters/fastify/hook';
import { toHonoMiddleware } from '../../src/adapters/hono/middleware';
import type { Verifier } from '../../src/core/verify/verify';
import { NOW, signerOf, verifierAt } from '../support/core';
import { eachByItself } from '../support/each-by-itself';
import { withListener } from '../support/fastify';
import { listen } from '../support/listen';
import { asking, receive, targetSigner } from '../support/proofs';

/** What serves a request, and tells when its handler runs. */
type Serve = (verifier: Verifier, handled: () => Promise<void>) => RequestListener | Promise<RequestListener>;

const servers: { name: string; serve: Serve }[] = [
  {
    name: 'node:http',
    serve(verifier, handled) {
      const verify = toMiddleware(verifier);
      return (request, response) =>
        verify(request, response, async () => {
          await handled();
          response.end('in');
        });
    },
  },
  {
    name: 'Express 5',
    serve: (verifier, handled) =>
      express().use(toMiddleware(verifier) as RequestHandler, async (_request, response) => {
        await handled();
        response.end('in');
      }),
  },
  {
    name: 'Fastify 5',
    async serve(verifier, handled) {
      const { app, ready } = withListener();
      app.addHook('onRequest', toHook(verifier));
      app.all('/*', async () => {
        await handled();
        return 'in';
      });
      return ready();
    },
  },
  {
    name: 'Hono',
    serve(verifier, handled) {
      const app = new Hono().use(toHonoMiddleware(() => verifier));
      app.all('*', async (c) => {
        await handled();
        return c.text('in');
      });
      return getRequestListener(app.fetch);
    },
  },
];

const COUNT = 4;

/** A server that lets its requests in one after another, in one turn of the event loop, when all of them are there. */
async function gathering(listener: RequestListener) {
  const waiting: [IncomingMessage, ServerResponse][] = [];
  return listen((...pair) => {
    if (waiting.push(pair as [IncomingMessage, ServerResponse]) === COUNT)
      void eachByItself(waiting.splice(0), ([request, response]) => void listener(request, response));
  });
}

const times = (...names: string[]) => names.flatMap((name) => Array.from({ length: COUNT }, () => name));
const eachInTurn = (...names: string[]) => Array.from({ length: COUNT }, () => names).flat();

/** How long each look at the clock comes after the last one. */
const handlers = [
  { kind: 'quick', stepMs: 0, expected: [...eachInTurn('handled', 'paused'), ...times('signed')] },
  { kind: 'slow', stepMs: 2, expected: eachInTurn('handled', 'paused', 'signed') },
];

describe.each(servers)('requests that come together to $name', ({ serve }) => {
  afterEach(() => void vi.restoreAllMocks());

  it.each(
    handlers.flatMap(({ kind, ...given }) => [
      ['GET', kind, { ...given, body: undefined }] as const,
      ['POST', kind, { ...given, body: Buffer.from('text') }] as const,
    ]),
  )(
    'are verified together, handled one by one, and their answers signed together if none would wait long: %s, %s handlers',
    async (method, _kind, { body, stepMs, expected }) => {
      let nowMs = 0;
      vi.spyOn(performance, 'now').mockImplementation(() => {
        nowMs += stepMs;
        return nowMs;
      });
      const events: string[] = [];
      const note = (event: string) => void events.push(event);
      const nonces = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: NOW - 3600 });
      const key = await targetSigner();
      const answerSigner: AnswerSigner = {
        ...key,
        sign(message) {
          note('signed');
          return key.sign(message);
        },
      };
      const nonceStore = {
        startedAt: NOW - 3600,
        claim(...claim: Parameters<typeof nonces.claim>) {
          note('verified');
          return nonces.claim(...claim);
        },
      };
      const verifier = verifierAt({ nonceStore, answerSigner });
      const server = await gathering(
        await serve(verifier, async () => {
          note('handled');
          await undefined; // not for the event loop
          note('paused');
        }),
      );
      const ask = async () => {
        const { request } = await asking({
          method,
          headers: { 'content-type': 'text/plain' },
          ...(body && { body }),
        });
        return receive(server.port, request);
      };
      const answers = await Promise.all(Array.from({ length: COUNT }, ask));
      await server.close();
      expect(answers.map(({ status, headers }) => [status, 'signature' in headers])).toEqual(
        Array.from({ length: COUNT }, () => [200, true]),
      );
      expect(events).toEqual([...times('verified'), ...expected]);
    },
  );
});

it.each([
  ['in one tick', async (call: () => Promise<unknown>) => void (await Promise.all([call(), call(), call()]))],
  ['in one turn, beside another call', (call: () => Promise<unknown>) => beside(call)],
])('calls that begin together, %s, are signed one after another, and then sent', async (_, begin) => {
  const events: string[] = [];
  const signer = await signerOf('controller');
  const client = createClient({
    signer: {
      ...signer,
      sign(message) {
        events.push('signed');
        return signer.sign(message);
      },
    },
    async fetch() {
      events.push('sent');
      return new Response();
    },
  });
  await begin(() => client.fetch('https://api.example.com'));
  expect(events).toEqual(['signed', 'signed', 'signed', 'sent', 'sent', 'sent']);
});

/** Three calls, each in a callback of its own, while another one waits for its answer. */
async function beside(call: () => Promise<unknown>): Promise<void> {
  const signer = await signerOf('controller');
  let answer: (response: Response) => void = () => {};
  const asked = new Promise<void>((resolve) => {
    const client = createClient({
      signer,
      fetch: () =>
        new Promise((settle) => {
          answer = settle;
          resolve();
        }),
    });
    void client.fetch('https://slow.example.com');
  });
  await asked;
  await eachByItself([1, 2, 3], call);
  answer(new Response());
}
