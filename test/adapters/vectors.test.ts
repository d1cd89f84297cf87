import { createHash } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import {
  CODES,
  createVerifier,
  InMemoryNonceStore,
  type Refusal,
  type RefusalCode,
} from '@authmesh/sdk/core';
import type { Authenticated, Middleware } from '@authmesh/sdk/express';
import { verify as verifyExpress } from '@authmesh/sdk/express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectHttp2, http2Exchange } from '../support/http2';
import { listen } from '../support/listen';
import type { RawResponse } from '../support/raw-http';
import { sendVector } from '../support/send-vector';
import {
  expectedCode,
  nowOf,
  type Vector,
  vectorAllowList,
  vectors,
  vectorsStartedAt,
} from '../support/vectors';

type Handler = (
  request: (IncomingMessage | Http2ServerRequest) & { originalUrl?: string },
  response: ServerResponse | Http2ServerResponse,
) => void;

interface Wire {
  send(vector: Vector): Promise<RawResponse>;
  close(): Promise<void>;
}

async function serveHttp1(listener: RequestListener): Promise<Wire> {
  const { port, close } = await listen(listener);
  return { send: (vector) => sendVector(port, vector), close };
}

async function serveHttp2(handler: Handler): Promise<Wire> {
  const { session, close } = await connectHttp2(createHttp2Server(handler));
  return {
    send({ request: { method, target, authority, headers, body } }) {
      const line = { ':method': method, ':path': target, ':authority': authority };
      const bytes = body === '' ? undefined : Buffer.from(body, 'base64');
      return http2Exchange(session, { ...line, ...headers }, bytes);
    },
    close,
  };
}

// The frameworks have the contract suite.
const servers = [
  {
    name: 'node:http',
    serve: (verify: Middleware, handler: Handler) =>
      serveHttp1((request, response) => verify(request, response, () => handler(request, response))),
  },
  {
    name: 'node:http2',
    serve: (verify: Middleware, handler: Handler) =>
      serveHttp2((request, response) => verify(request, response, () => handler(request, response))),
  },
];

describe.each(servers)('wire vectors through $name on a real socket', ({ serve }) => {
  let server: Wire;
  let verify: Middleware;
  let refusals: Refusal[];
  let handled: number;

  beforeAll(async () => {
    server = await serve(
      (request, response, next) => verify(request, response, next),
      async (request, response) => {
        handled++;
        const { deviceId } = (request as Authenticated<typeof request>).authMesh;
        const hash = createHash('sha256');
        for await (const chunk of request) hash.update(chunk);
        const { method, url, originalUrl: target = url } = request;
        (response as ServerResponse).end(
          JSON.stringify({ deviceId, method, target, sha256: hash.digest('hex') }),
        );
      },
    );
  });
  afterAll(() => server.close());

  it.each(vectors.cases)('$name', async (vector) => {
    const now = () => nowOf(vector);
    refusals = [];
    handled = 0;
    const verifier = createVerifier({
      allowList: vectorAllowList,
      clockSkewSeconds: vectors.clockSkewSeconds,
      nonceStore: new InMemoryNonceStore({ now, startedAt: vectorsStartedAt }),
      now,
      delegates: vector.delegates,
      onRefusal: (refusal) => refusals.push(refusal),
    });
    verify = verifyExpress({ amesh: { verifier: () => verifier } });
    const response = await server.send(vector);
    const code = expectedCode(vector) as RefusalCode | undefined;
    expect(refusals.map((refusal) => refusal.code)).toEqual(code === undefined ? [] : [code]);
    expect(handled).toBe(code === undefined ? 1 : 0);

    if (code === undefined) {
      const { method, target, body } = vector.request;
      const { deviceId } = vectors.devices.controller;
      expect(response.status).toBe(200);
      expect(response.headers['cache-control']).toBe('private');
      const sha256 = createHash('sha256').update(Buffer.from(body, 'base64')).digest('hex');
      expect(JSON.parse(response.body)).toEqual({ deviceId, method, target, sha256 });
      return;
    }
    const { status, wire } = CODES[code];
    expect(response.status).toBe(status);
    expect(response.body).toBe(JSON.stringify({ error: wire }));
    expect(response.headers['content-type']).toBe('application/json');
    expect(response.headers['cache-control']).toBe('no-store');
    expect(response.headers['www-authenticate']).toBe(
      status === 401 ? `AuthMesh error="${wire}"` : undefined,
    );
    if (code === 'timestamp_out_of_range') {
      expect(Date.parse(response.headers.date as string)).toBe(Math.floor(now() / 1000) * 1000);
    }
  });
});
