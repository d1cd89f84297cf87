import { once } from 'node:events';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect as netConnect } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { openDevice } from '@authmesh/sdk/admin';
import { signRequest } from '@authmesh/sdk/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Backend, type Proxied, type RunningProxy, useProxied } from '../support/proxied';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const createProxied = useProxied();

let proxied: Proxied;
let backend: Backend;
let proxy: RunningProxy;
let ca: string;
/** Responses that wait for the test. */
const opened: ServerResponse[] = [];

beforeAll(async () => {
  proxied = await createProxied();
  backend = await new Backend((request, response) => {
    backend.note(request);
    if (request.url?.startsWith('/late')) opened.push(response);
    else response.end('ok');
  }).listen();
  const certificate = await proxied.certificate();
  ca = certificate.cert;
  // In a process of its own: an error that nobody catches would end it.
  proxy = await proxied.protect(backend.origin, certificate.args, { isProcess: true });
}, 180_000);
afterAll(async () => {
  expect(await proxy?.end()).toBe(0);
  backend?.close();
});

const authority = () => `127.0.0.1:${proxy.port}`;

async function signedHeaders(target: string, method = 'GET') {
  const view = { method, target, authority: authority(), headers: {} };
  return { ...(await signRequest(view, proxied.signer)).headers, ':path': target, ':method': method };
}

async function connect() {
  const session = connectHttp2(`https://${authority()}`, { ca });
  session.on('error', () => {});
  await once(session, 'connect');
  return session;
}

it('continues when a stream of HTTP/2 is reset before its response, during it, and with its session', async () => {
  for (const end of ['reset', 'session', 'half'] as const) {
    const session = await connect();
    const stream = session.request(await signedHeaders('/late'), { endStream: true });
    stream.on('error', () => {});
    await expect.poll(() => opened.length).toBe(1);
    const [response] = opened.splice(0) as [ServerResponse];
    if (end === 'half') {
      response.writeHead(200, { 'content-length': 100_000 });
      response.write('x'.repeat(50_000));
      await once(stream, 'response');
    }
    if (end === 'session') session.destroy();
    else stream.close(8);
    await once(stream, 'close');
    response.end('x'.repeat(50_000));
    session.destroy();
  }
  await stillServes();
});

it('continues when the server behind it breaks off a response over HTTP/2, and says so', async () => {
  const session = await connect();
  const stream = session.request(await signedHeaders('/late'), { endStream: true });
  const failed = once(stream, 'error');
  await expect.poll(() => opened.length).toBe(1);
  const [response] = opened.splice(0) as [ServerResponse];
  response.writeHead(200, { 'content-length': 100_000 });
  response.write('half');
  stream.resume();
  await once(stream, 'response');
  response.destroy();
  expect(String((await failed)[0])).toContain('INTERNAL_ERROR');
  session.destroy();
  await stillServes();
});

it('continues when many requests of strangers and of a caller break off at once', async () => {
  const session = await connect();
  for (let i = 0; i < 50; i++) {
    const more = i % 2 === 0 ? {} : { a_b: 'c' };
    const headers = { ...(await signedHeaders(`/x?${i}`, 'POST')), ...more };
    const stream = session.request(headers, { endStream: false });
    stream.on('error', () => {});
    stream.write('a');
    void setImmediate().then(() => stream.close(8));
  }
  session.destroy();
  await stillServes();
});

async function stillServes(): Promise<void> {
  const session = await connect();
  const stream = session.request(await signedHeaders('/fine'), { endStream: true });
  const [answer] = await once(stream, 'response');
  expect(answer[':status']).toBe(200);
  session.destroy();
}

it('keeps no connection of a stranger whose upgrade it has refused', async () => {
  const plain = await proxied.protect(backend.origin);
  const lines = [`Host: 127.0.0.1:${plain.port}`, 'Connection: Upgrade', 'Upgrade: websocket'];
  for (const line of ['GET /x HTTP/1.1', 'CONNECT evil.example:1 HTTP/1.1']) {
    // It keeps its own side open.
    const socket = netConnect({ port: plain.port, host: '127.0.0.1', allowHalfOpen: true });
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    socket.write(head(line, lines));
    socket.resume();
    await once(socket, 'end');
    const writing = setInterval(() => socket.write('x'), 50);
    await expect.poll(() => errors.length).toBeGreaterThan(0);
    clearInterval(writing);
    socket.destroy();
  }
  expect(await plain.end()).toBe(0);
});

it('continues over plain HTTP when a client leaves, at each moment', async () => {
  const plain = await proxied.protect(backend.origin, [], { isProcess: true });
  const host = `127.0.0.1:${plain.port}`;
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
  for (const more of [
    [],
    upgrade,
    ['Content-Length: 100'],
    ['Expect: 100-continue', 'Content-Length: 100'],
  ]) {
    for (const target of ['/late', '/fine']) {
      const signed = await signedRaw(proxied.signer, host, { target });
      const text = head(signed.line, [...signed.headers, ...more]);
      for (const cut of [10, text.length - 2, text.length]) {
        const client = await RawClient.connect(plain.port);
        client.write(text.slice(0, cut));
        await setImmediate();
        client.socket.resetAndDestroy();
      }
    }
  }
  for (const response of opened.splice(0)) response.end('late');
  const client = await RawClient.connect(plain.port);
  const signed = await signedRaw(proxied.signer, host, { target: '/fine' });
  client.write(head(signed.line, signed.headers));
  expect((await client.response()).status).toBe(200);
  client.destroy();
  expect(await plain.end()).toBe(0);
});

it('keeps nothing of a request behind another one whose client leaves before either is answered', async () => {
  const plain = await proxied.protect(backend.origin, ['--max-spool', '3MiB']);
  const host = `127.0.0.1:${plain.port}`;
  const body = Buffer.alloc(2 * 1_048_576); // goes into a file
  const upload = async () => {
    const { line, headers } = await signedRaw(proxied.signer, host, {
      method: 'POST',
      target: '/fine',
      body,
    });
    return [head(line, [...headers, `Content-Length: ${body.length}`]), body] as const;
  };
  const late = await signedRaw(proxied.signer, host, { target: '/late' });
  const client = await RawClient.connect(plain.port);
  const { length } = backend.seen;
  client.write(head(late.line, late.headers), ...(await upload()));
  await expect.poll(() => backend.seen.length, { timeout: 10_000 }).toBe(length + 2);
  client.socket.resetAndDestroy();
  await expect
    .poll(async () => (await exchange(plain.port, ...(await upload()))).status, { timeout: 10_000 })
    .toBe(200);
  for (const response of opened.splice(0)) response.end();
  expect(await plain.end()).toBe(0);
});

/** Somebody on the way to a server of this machine, who says of each answer that it has the coding of its path. */
async function compressing(port: number): Promise<Backend> {
  const way = await new Backend(async ({ method, url: path, rawHeaders: headers }, response) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers: [...headers], setHost: false });
    const [answer] = (await once(sent.end(), 'response')) as [IncomingMessage];
    const lines = [...answer.rawHeaders, 'Content-Encoding', path?.slice(1) ?? ''];
    response.writeHead(answer.statusCode ?? 0, lines).end(await buffer(answer));
  }).listen();
  await proxied.know(`127.0.0.1:${way.port}`);
  return way;
}

/** Has the caller wait for its disk after the next answer: it confirms the target then. */
async function unconfirm(): Promise<void> {
  const { trust } = await openDevice(proxied.caller.dir, {});
  const { deviceId } = (await openDevice(proxied.target.dir, {})).identity;
  await trust.update(async (draft) => {
    const entry = await draft.device(deviceId);
    if (entry !== undefined) await draft.put({ ...entry, unconfirmed: true });
  });
}

it('continues when somebody in between claims that a proven answer is compressed', async () => {
  const plain = await proxied.protect(backend.origin);
  const way = await compressing(plain.port);
  const front = await proxied.to(way.origin, [], { isProcess: true });
  const ask = async (path: string) => {
    const [answer] = await once(request({ port: front.port, path }).end(), 'response');
    return text(answer);
  };
  for (const coding of ['gzip', 'x-gzip', 'deflate', 'br']) {
    await unconfirm();
    const { length } = backend.seen;
    await expect(ask(`/${coding}`), coding).rejects.toThrow(); // cut before or after its head
    expect(backend.seen, coding).toHaveLength(length + 1);
  }
  expect(await ask('/identity')).toBe('ok');
  expect([await front.end(), await plain.end()]).toEqual([0, 0]);
  way.close();
});
