import { createServer, type IncomingMessage } from 'node:http';
import express from 'express';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

// A body that came in one packet with its head is known to be whole before its stream ends.

let machines: Machines;
let server: Listening;
let seen: string[];
/** What runs before verify(). */
let before: (request: IncomingMessage) => void;

beforeAll(async () => {
  machines = await createMachines();
  const verify = machines.target.verify();
  server = await listen(
    createServer((request, response) => {
      before(request);
      verify(request, response, async () => {
        seen.push(Buffer.concat(await request.toArray()).toString());
        response.end('ok');
      });
    }),
  );
});
afterAll(async () => {
  await server.close();
  await machines.remove();
});
beforeEach(() => {
  seen = [];
  before = () => {};
  machines.refusals.length = 0;
});

async function packet(body: string, lengthBytes: number | null = Buffer.byteLength(body)): Promise<Buffer> {
  const { line, headers } = await signedRaw(machines.signer, server.authority, { method: 'POST', body });
  const length = lengthBytes === null ? [] : [`Content-Length: ${lengthBytes}`];
  return Buffer.concat([Buffer.from(head(line, [...headers, ...length])), Buffer.from(body)]);
}

describe('a body that came with its head', () => {
  it('reaches the handler once, and the next request in the packet has its own', async () => {
    const client = await RawClient.connect(server.port);
    client.write(Buffer.concat([await packet('{"n":1}'), await packet('{"n":2}')]));
    expect(await client.response()).toMatchObject({ status: 200, body: 'ok' });
    expect(await client.response()).toMatchObject({ status: 200, body: 'ok' });
    client.destroy();
    expect(seen).toEqual(['{"n":1}', '{"n":2}']);
  });

  it('is waited for if the rest comes later', async () => {
    const client = await RawClient.connect(server.port);
    const bytes = await packet('a body in two parts');
    client.write(bytes.subarray(0, -5));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual([]);
    client.write(bytes.subarray(-5));
    expect(await client.response()).toMatchObject({ status: 200 });
    client.destroy();
    expect(seen).toEqual(['a body in two parts']);
  });

  it('is not cut off by a length that middleware has changed', async () => {
    // The signature is right for the first half, the rest is a stranger's.
    const bytes = await packet('signed', 12);
    before = (request) => {
      request.headers['content-length'] = '6';
    };
    const client = await RawClient.connect(server.port);
    client.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.write('forged');
    expect(await client.response()).toMatchObject({ status: 401 });
    client.destroy();
    expect(seen).toEqual([]);
    expect(machines.refusals.map(({ code }) => code)).toEqual(['content_digest_mismatch']);
  });

  it('is not cut off in chunks, whatever length is announced as well', async () => {
    const { line, headers } = await signedRaw(machines.signer, server.authority, {
      method: 'POST',
      body: 'signed',
    });
    before = (request) => {
      request.headers['content-length'] = '6';
    };
    const chunks = '6\r\nsigned\r\n6\r\nforged\r\n0\r\n\r\n';
    const response = await exchange(
      server.port,
      head(line, [...headers, 'Transfer-Encoding: chunked']),
      chunks,
    );
    expect(response.status).toBe(401);
    expect(seen).toEqual([]);
  });
});

describe('a request and a response of Express', () => {
  it('keep their properties, and each other, after verify()', async () => {
    const app = express();
    const names: string[][] = [];
    app.use((request, response, next) => {
      names.push(Object.keys(request).sort(), Object.keys(response).sort());
      next();
    });
    app.use(machines.target.verify());
    app.use((request, response) => {
      const { authMesh, ...rest } = request;
      names.push(Object.keys(rest).sort(), Object.keys(response).sort());
      expect(authMesh.friendlyName).toBe('controller');
      response.json({ isPair: request.res === response && response.req === request });
    });
    const other = await listen(createServer(app));
    const response = await machines.controller.fetch(`${other.origin}/x`);
    expect(await response.json()).toEqual({ isPair: true });
    expect(names.slice(2)).toEqual(names.slice(0, 2));
    await other.close();
  });

  it('may be frozen if they refer to each other', async () => {
    const app = express();
    app.use((request, response, next) => {
      Object.defineProperty(request, 'res', { value: response, configurable: false });
      Object.defineProperty(response, 'req', { value: request, configurable: false });
      next();
    });
    app.use(machines.target.verify());
    app.use((_request, response) => void response.send('ok'));
    const other = await listen(createServer(app));
    const response = await machines.controller.fetch(`${other.origin}/x`);
    expect(await response.text()).toBe('ok');
    await other.close();
  });
});
