import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { allowUnprovenBody } from '@authmesh/sdk';
import { signRequest } from '@authmesh/sdk/core';
import { proveResponse, withAmesh } from '@authmesh/sdk/workers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { asking, provingVerifier } from '../support/proofs';
import { askingClient, useProvingServer } from '../support/proving-server';
import { usePair } from '../support/use-pair';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Node's fetch cancels the body of a response that was collected, even if somebody else has the stream. */
async function collectAll(): Promise<void> {
  for (let round = 0; round < 5; round++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const server = useProvingServer();
const machines = usePair();

/** Ends the stream of events that is under way. */
let release = () => {};

async function* events() {
  yield Buffer.from('data: 1\n\n');
  await new Promise<void>((resolve) => {
    release = resolve;
  });
  yield Buffer.from('data: 2\n\n');
}

const EVENTS = 'data: 1\n\ndata: 2\n\n';

async function readLater(response: Response): Promise<string> {
  await collectAll();
  const reading = response.text();
  release();
  return reading;
}

it('a body that nothing proves is not cut off when its response is garbage-collected', async () => {
  server.reset();
  const head = { 'content-type': 'text/event-stream' };
  server.routes.set('/', () => ({ headers: head, body: Readable.from(['']) }));
  server.hands = (answer) => ({ ...answer, stream: events() });
  const fetched = askingClient().fetch(server.origin, { [allowUnprovenBody]: true });
  expect(await readLater(await fetched)).toBe(EVENTS);
});

describe('a response of fetch that a handler passes on', () => {
  let upstream: Listening;
  beforeAll(async () => {
    upstream = await listen(
      createServer(async (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for await (const chunk of events()) response.write(chunk);
        response.end();
      }),
    );
  });
  afterAll(() => upstream.close());

  it('is sent completely, with a proof', async () => {
    const { request } = await asking();
    const verdict = await (await provingVerifier()).verify(request);
    if (!verdict.ok) throw new Error(verdict.code);
    const response = await proveResponse(await fetch(upstream.origin), verdict.proof);
    expect(response.headers.has('signature')).toBe(true);
    expect(await readLater(response)).toBe(EVENTS);
  });

  it('is sent completely through withAmesh(), for no shared cache', async () => {
    const handler = withAmesh(() => fetch(upstream.origin), {
      amesh: machines.targetWith({ hosts: ['api.example.com'] }),
    });
    const signed = await signRequest(new Request('https://api.example.com/'), machines.signer);
    const response = await handler(signed);
    expect(response.headers.get('cache-control')).toBe('private');
    expect(await readLater(response)).toBe(EVENTS);
  });
});
