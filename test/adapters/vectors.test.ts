import { createHash } from 'node:crypto';
import {
  CODES,
  createVerifier,
  InMemoryNonceStore,
  type RejectCode,
  type Rejection,
} from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Authenticated, type Middleware, toMiddleware } from '../../src/adapters/express/middleware';
import { frameworks } from '../support/frameworks';
import { type Listening, listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';
import {
  expectedCode,
  nowOf,
  type Vector,
  vectorAllowList,
  vectors,
  vectorsStartedAt,
} from '../support/vectors';

describe.each(frameworks)('wire vectors through $name on a real socket', ({ express }) => {
  let server: Listening;
  let verify: Middleware;
  let rejections: Rejection[];
  let handled: number;

  beforeAll(async () => {
    const app = express();
    app.use((request, response, next) => verify(request, response, next));
    app.use(async (request, response) => {
      handled++;
      const { deviceId } = (request as Authenticated<typeof request>).authMesh;
      const hash = createHash('sha256');
      for await (const chunk of request) hash.update(chunk);
      const { method, originalUrl: target } = request;
      response.json({ deviceId, method, target, sha256: hash.digest('hex') });
    });
    server = await listen(app);
  });
  afterAll(() => server.close());

  /** The vector as it goes over the wire: nothing between the file and the socket changes it. */
  function send({ request }: Vector) {
    const body = Buffer.from(request.body, 'base64');
    const length = request.method === 'GET' && body.length === 0 ? [] : [`Content-Length: ${body.length}`];
    const lines = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}`);
    const line = `${request.method} ${request.target} HTTP/1.1`;
    return exchange(server.port, head(line, [`Host: ${request.authority}`, ...lines, ...length]), body);
  }

  it.each(vectors.cases)('$name', async (vector) => {
    const now = () => nowOf(vector);
    rejections = [];
    handled = 0;
    verify = toMiddleware(
      createVerifier({
        allowList: vectorAllowList,
        clockSkewSeconds: vectors.clockSkewSeconds,
        nonceStore: new InMemoryNonceStore({ now, startedAt: vectorsStartedAt }),
        now,
        onReject: (rejection) => rejections.push(rejection),
      }),
    );
    const response = await send(vector);
    const code = expectedCode(vector) as RejectCode | undefined;
    expect(rejections.map((rejection) => rejection.code)).toEqual(code === undefined ? [] : [code]);
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
