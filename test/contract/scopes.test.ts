import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { Signer } from '@authmesh/sdk/core';
import { hasScope, verify as verifyExpress } from '@authmesh/sdk/express';
import { withAmesh } from '@authmesh/sdk/workers';
import { getRequestListener } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import { signerOf } from '../support/core';
import { connectHttp2, http2Exchange } from '../support/http2';
import { listen } from '../support/listen';
import { exchange, head, type RawResponse } from '../support/raw-http';
import { type RawRequest, signedRaw } from '../support/signed-raw';
import { vectors } from '../support/vectors';
import { fetchApp } from './apps/fetch';
import { ALL_SCOPES, ONE_SCOPE, type Outcome, type Setting, Subject } from './subject';

/** The scopes of the contract, for the servers of Node that are not held to all of it. */

type Incoming = IncomingMessage | Http2ServerRequest;
type Outgoing = ServerResponse | Http2ServerResponse;

interface Server {
  readonly authority: string;
  send(request: RawRequest): Promise<RawResponse>;
  close(): Promise<unknown>;
}

const { deviceId } = vectors.devices.controller;
const tls = createCertificate();

/** Handlers of node:http and of the compatibility API of node:http2. Some call a second verify(), with its own require. */
function handlerOf(subject: Subject): (request: Incoming, response: Outgoing) => void {
  const verify = verifyExpress({ amesh: subject });
  const one = verifyExpress({ amesh: subject, ...ONE_SCOPE });
  const all = verifyExpress({ amesh: subject, ...ALL_SCOPES });
  return (request, response) => {
    const answer = (via: string) => async () => {
      const body = Buffer.concat(await request.toArray());
      const { authMesh } = request as never;
      const seen = await subject.seen(via, authMesh, request.method as string, request.url as string, body);
      (response as ServerResponse).end(JSON.stringify(seen));
    };
    const path = request.url as string;
    if (path.startsWith('/only/')) return one(request, response, answer('only'));
    verify(request, response, () => {
      if (path.startsWith('/scoped/one/')) return one(request, response, answer('one'));
      if (path.startsWith('/scoped/all/')) return all(request, response, answer('all'));
      if (path.startsWith('/scoped/asked/'))
        return void (response as ServerResponse).end(String(hasScope(request as never, 'orders:read')));
      answer('app')();
    });
  };
}

const overHttp1 = async (listening: ReturnType<typeof listen>): Promise<Server> => {
  const { port, close } = await listening;
  const send = ({ line, headers, body }: RawRequest) =>
    exchange(port, head(line, [...headers, `Content-Length: ${body.length}`]), body);
  return { authority: `127.0.0.1:${port}`, send, close };
};

const overHttp2 = async (server: Http2Server | Http2SecureServer, ca?: string): Promise<Server> => {
  const pair = await connectHttp2(server, ca);
  const authority = `127.0.0.1:${pair.port}`;
  const send = ({ line, headers, body }: RawRequest) => {
    const [method = '', path = ''] = line.split(' ');
    const fields = headers.slice(1).map((each) => each.split(/: (.*)/s).slice(0, 2));
    const pseudo = { ':method': method, ':path': path, ':authority': authority };
    return http2Exchange(pair.session, { ...pseudo, ...Object.fromEntries(fields) }, body);
  };
  return { authority, send, close: () => pair.close() };
};

const kinds: Record<string, (subject: Subject) => Promise<Server>> = {
  'node:http': (subject) => overHttp1(listen(createServer(handlerOf(subject)))),
  'node:http2, cleartext': (subject) => overHttp2(createHttp2Server(handlerOf(subject))),
  'node:http2, TLS': (subject) => overHttp2(createSecureServer({ ...tls }, handlerOf(subject)), tls.cert),
  'withAmesh() on Node': (subject) =>
    overHttp1(
      listen(
        createServer(
          getRequestListener(
            fetchApp(subject, (handler, options) => withAmesh(handler, { amesh: subject, ...options })),
          ),
        ),
      ),
    ),
};

describe.each(Object.keys(kinds))('%s: scopes', (kind) => {
  const subject = new Subject();
  let server: Server;
  let signer: Signer;
  beforeAll(async () => {
    signer = await signerOf('controller');
    server = (await kinds[kind]?.(subject)) as Server;
  });
  afterAll(() => server?.close());

  const allow = (scopes: readonly string[], more: Setting = {}) =>
    subject.control('POST', JSON.stringify({ hosts: [server.authority], scopes, ...more }));
  const outcome = () => JSON.parse(subject.control('GET', '')) as Outcome;
  const signed = (path: string) =>
    signedRaw(signer, server.authority, { method: 'POST', target: `/${path}/x`, body: 'abc' });
  const missing = (scope: string) => [403, { error: 'scope_missing', scope }];
  const answerOf = async (path: string, request?: RawRequest) => {
    const { status, body } = await server.send(request ?? (await signed(path)));
    return [status, JSON.parse(body)];
  };
  const passed = (via: string, scopes: readonly string[]) => [
    200,
    expect.objectContaining({ via, length: 3, caller: expect.objectContaining({ deviceId, scopes }) }),
  ];

  it.each(['only', 'scoped/one'])('a route requires one: /%s', async (path) => {
    const via = path.replace('scoped/', '');
    allow(['orders:write', 'orders']);
    expect(await answerOf(path)).toEqual(missing('orders:read'));
    expect(outcome()).toEqual({ refusals: ['scope_missing'], handled: 0 });
    allow(['orders:*']);
    expect(await answerOf(path)).toEqual(passed(via, ['orders:*']));
    expect(outcome()).toEqual({ refusals: [], handled: 1 });
  });

  it('a second verify() of a request checks its own require, without a second claim', async () => {
    allow(['orders:read']);
    expect(await answerOf('scoped/all')).toEqual(missing('orders:write'));
    expect(await answerOf('scoped/one')).toEqual(passed('one', ['orders:read']));
    expect(await answerOf('other')).toEqual(passed('app', ['orders:read']));
    expect(outcome()).toEqual({ refusals: ['scope_missing'], handled: 2 });
    expect(await answerOf('scoped/asked')).toEqual([200, true]);
  });

  it.each(['only', 'scoped/one'])('a refused request is a replay once it is allowed: /%s', async (path) => {
    allow([]);
    const refused = await signed(path);
    expect(await answerOf(path, refused)).toEqual(missing('orders:read'));
    allow(['orders:read'], { keepsNonces: true });
    expect(await answerOf(path, refused)).toEqual([401, { error: 'unauthorized' }]);
    expect(outcome()).toEqual({ refusals: ['replay_detected'], handled: 0 });
    expect((await answerOf(path))[0]).toBe(200);
  });
});
