import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Amesh } from '@authmesh/sdk';
import { verify as verifyInHono } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import { Hono } from 'hono';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { StolenTime } from '../support/pauses';
import { head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const MEGABYTE = 1_048_576;
const body = Buffer.alloc(5 * MEGABYTE, 'x');

/** A client as plain as many are: it reads nothing before all of its body is written. */
function writeAllThenRead(port: number, request: string, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.pause();
    socket.on('data', (chunk) => {
      received += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(received));
    socket.write(request);
    socket.write(bytes, () => socket.resume());
  });
}

const servers: { name: string; serve: (target: Amesh) => Promise<Listening> }[] = [
  {
    name: 'Express 5',
    serve: (target) =>
      listen(express().use(target.verify(), (_request, response) => void response.end('in'))),
  },
  {
    name: 'node:http',
    serve(target) {
      const verify = target.verify();
      return listen((request, response) => verify(request, response, () => void response.end('in')));
    },
  },
  {
    name: 'Hono',
    serve(target) {
      const app = new Hono().use(verifyInHono({ amesh: target }));
      app.all('*', (c) => c.text('in'));
      return listen(getRequestListener(app.fetch));
    },
  },
];

describe.each(servers)('refused early by $name', ({ serve }) => {
  let machines: Machines;
  let server: Listening;

  beforeAll(async () => {
    machines = await createMachines();
    server = await serve(machines.target);
  });
  afterAll(async () => {
    await server.close();
    await machines.remove();
  });
  beforeEach(() => {
    machines.refusals.length = 0;
  });

  async function signedHead(bytes: Uint8Array, method = 'POST') {
    const { line, headers } = await signedRaw(machines.signer, server.authority, { method, body: bytes });
    return head(line, [...headers, `Content-Length: ${bytes.length}`]);
  }

  function unsignedHead(length: number, method = 'POST') {
    return head(`${method} / HTTP/1.1`, [`Host: ${server.authority}`, `Content-Length: ${length}`]);
  }

  it('fetch sees the 401', async () => {
    for (let i = 0; i < 10; i++) {
      const response = await fetch(server.origin, { method: 'POST', body });
      expect(response.status).toBe(401);
      expect(await response.json()).toEqual({ error: 'unauthorized' });
    }
  });

  it('amesh.fetch sees the 413', async () => {
    for (let i = 0; i < 5; i++) {
      const response = await machines.controller.fetch(server.origin, { method: 'POST', body });
      expect(response.status).toBe(413);
      expect(await response.json()).toEqual({ error: 'payload_too_large' });
    }
  });

  it('a client that writes everything before it reads sees the 401, and no broken pipe', async () => {
    for (let i = 0; i < 5; i++) {
      const received = await writeAllThenRead(server.port, unsignedHead(body.length), body);
      expect(received).toMatch(/^HTTP\/1\.1 401 .*\r\n\r\n\{"error":"unauthorized"\}$/s);
    }
  });

  it('a client that writes everything before it reads sees the 413, and no broken pipe', async () => {
    const received = await writeAllThenRead(server.port, await signedHead(body), body);
    expect(received).toMatch(/^HTTP\/1\.1 413 .*\r\n\r\n\{"error":"payload_too_large"\}$/s);
  });

  it('HEAD with a body gets its head, and nothing after it', async () => {
    const client = await RawClient.connect(server.port);
    client.write(unsignedHead(9, 'HEAD'), '12345');
    const { status, headers } = await client.response('HEAD');
    expect([status, headers.connection]).toEqual([401, 'close']);
    client.write('6789');
    await client.closed();
    expect(client.isAnswered).toBe(false);
  });

  it('the response does not wait for the body, and the connection closes when the body has arrived', async () => {
    const client = await RawClient.connect(server.port);
    client.write(unsignedHead(10), '12345');
    expect((await client.response()).status).toBe(401);
    client.write('67890');
    await client.closed();
    expect(client.error).toBeUndefined();
  });

  it('a client that does not finish is cut off after about a second', async () => {
    const client = await RawClient.connect(server.port);
    const [stolen, askedAt] = [new StolenTime(), performance.now()];
    client.write(unsignedHead(10), '12345');
    expect((await client.response()).status).toBe(401);
    await client.closed();
    const tookMs = performance.now() - askedAt;
    expect(tookMs).toBeGreaterThan(500);
    expect(tookMs - stolen.ms).toBeLessThan(5000);
    stolen.stop();
  });

  it('a client that never stops is cut off after some megabytes', async () => {
    const socket = connect(server.port, '127.0.0.1');
    const errors: unknown[] = [];
    socket.on('error', (error) => errors.push(error));
    socket.write(unsignedHead(2 ** 40));
    const chunk = Buffer.alloc(MEGABYTE);
    let written = 0;
    while (!socket.destroyed && written < 1000) {
      written++;
      if (!socket.write(chunk))
        await Promise.race([once(socket, 'drain'), once(socket, 'close')]).catch(() => {});
    }
    expect(socket.destroyed).toBe(true);
    expect(written).toBeLessThan(100);
  });

  it('a client that leaves in the meantime does no harm', async () => {
    for (let i = 0; i < 20; i++) {
      const client = await RawClient.connect(server.port);
      client.write(unsignedHead(1000), '12345');
      await client.response();
      client.destroy();
    }
    await sleep(50);
    const response = await machines.controller.fetch(server.origin);
    expect(await response.text()).toBe('in');
  });

  it('a refusal keeps the connection if the body has already arrived', async () => {
    const client = await RawClient.connect(server.port);
    for (const sent of ['', 'x', 'x'.repeat(1000), '']) {
      client.write(unsignedHead(sent.length) + sent);
      const { status, headers } = await client.response();
      expect([status, headers.connection === 'close']).toEqual([401, false]);
    }
    client.destroy();
  });
});
