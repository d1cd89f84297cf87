import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { type Proxied, type RunningProxy, useProxied } from '../support/proxied';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const createProxied = useProxied();
const UPGRADED = head('HTTP/1.1 101 Switching Protocols', ['Connection: Upgrade', 'Upgrade: websocket']);
/** More than the sockets of the system hold. */
const BYTES = 32 * 1_048_576;

let proxied: Proxied;
/** A server behind a proxy that can end an idle connection at the moment when it is used. */
let backend: Server;
let endsIdle = false;
const upgraded: Socket[] = [];
const running: RunningProxy[] = [];

beforeAll(async () => {
  proxied = await createProxied();
  backend = createServer((socket) => {
    let requests = 0;
    socket.on('error', () => {});
    const answer = (chunk: Buffer) => {
      requests++;
      if (!/^upgrade: websocket/im.test(String(chunk))) {
        socket.write(head('HTTP/1.1 200 OK', ['Content-Length: 0']));
      } else if (endsIdle && requests > 1) {
        socket.resetAndDestroy();
      } else {
        socket.off('data', answer).pause().write(UPGRADED);
        upgraded.push(socket);
      }
    };
    socket.on('data', answer);
  }).listen(0, '127.0.0.1');
  await once(backend, 'listening');
}, 180_000);
afterEach(async () => {
  for (const socket of upgraded.splice(0)) socket.destroy();
  await Promise.all(running.splice(0).map((proxy) => proxy.end()));
});
afterAll(() => backend.close());

const origin = () => `http://127.0.0.1:${(backend.address() as AddressInfo).port}`;

/** Sends one request on a connection of its own, and returns that. */
async function call(port: number, more: readonly string[]): Promise<[client: RawClient, status: number]> {
  const { line, headers } = await signedRaw(proxied.signer, `127.0.0.1:${port}`);
  const client = (await RawClient.connect(port)).write(head(line, [...headers, ...more]));
  return [client, (await client.response()).status];
}

it.each([
  ['a connection of its own', false],
  ['a connection after an idle one that the server has just closed', true],
])('loses no byte when the server reads slowly, over %s', async (_, ends) => {
  endsIdle = ends;
  const proxy = await proxied.protect(origin());
  running.push(proxy);
  const [first, status] = await call(proxy.port, []);
  first.destroy();
  const [client, switched] = await call(proxy.port, ['Connection: Upgrade', 'Upgrade: websocket']);
  expect([status, switched]).toEqual([200, 101]);
  client.write(Buffer.alloc(BYTES));
  // All buffers on the way are full.
  let before = -1;
  const isStuck = () => {
    const [last, left] = [before, client.socket.writableLength];
    before = left;
    return left > 0 && left === last;
  };
  await expect.poll(isStuck, { timeout: 10_000 }).toBe(true);
  let received = 0;
  const [server] = upgraded as [Socket];
  server.on('data', ({ length }: Buffer) => {
    received += length;
  });
  server.resume();
  await expect.poll(() => received, { timeout: 10_000 }).toBe(BYTES);
  expect(upgraded).toHaveLength(1);
  client.destroy();
});

it.each([
  [403, 'Content-Type: application/json', '{"error":"forbidden"}'],
  [403, 'Content-Type: application/json', '{"error":"delegate_not_allowed"}'],
  [403, 'Content-Type: text/plain', 'x'.repeat(70_000)],
  [401, 'WWW-Authenticate: Bearer', 'who are you?'],
  [401, 'WWW-Authenticate: AuthMesh error="unauthorized"', '{"error":"unauthorized"}'],
  [421, 'Content-Type: text/plain', 'not here'],
  [404, 'Content-Type: text/plain', 'nothing here'],
  [503, 'Content-Type: application/json', '{"error":"nonce_store_unavailable"}'],
])('passes on the body of a handshake that the target refuses: %i, %s', async (status, line, body) => {
  const refusing = createServer((socket) => {
    socket
      .on('error', () => {})
      .once('data', () => {
        const lines = [line, `Content-Length: ${body.length}`];
        socket.write(head(`HTTP/1.1 ${status} X`, lines) + body.slice(0, 10));
        setImmediate(() => socket.write(body.slice(10)));
      });
  }).listen(0, '127.0.0.1');
  await once(refusing, 'listening');
  const { port } = refusing.address() as AddressInfo;
  await proxied.know(`127.0.0.1:${port}`);
  const proxy = await proxied.to(`http://127.0.0.1:${port}`);
  running.push(proxy);
  const lines = [`Host: 127.0.0.1:${proxy.port}`, 'Connection: Upgrade', 'Upgrade: websocket'];
  const answer = await exchange(proxy.port, head('GET / HTTP/1.1', lines));
  refusing.close();
  expect(answer.status).toBe(status);
  expect(answer.headers['content-length']).toBe(String(body.length));
  expect(answer.body).toBe(body);
});
