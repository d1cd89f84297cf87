import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { request as send } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import {
  type Amesh,
  provenBy,
  type RequestToSign,
  type SignedRequest,
  streamUnverifiedBody,
} from '@authmesh/sdk';
import { issueDelegation } from '@authmesh/sdk/admin';
import { withWorkingKey } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { useKnownTarget } from '../support/use-known-target';

const known = useKnownTarget();
let amesh: Amesh;
// A new one reads the list anew.
beforeEach(() => {
  amesh = known.callerWith();
});

/** Sends by node:http, byte for byte, and tells amesh the answer. */
async function deliver({ url, method, headers, body, stream, answered }: SignedRequest) {
  const { port, pathname, search } = new URL(url);
  const request = send({
    port,
    host: '127.0.0.1',
    method,
    path: pathname + search,
    headers: { ...Object.fromEntries(headers), host: `127.0.0.1:${port}` },
  });
  request.end(stream === null ? (body ?? undefined) : await buffer(stream as never));
  const [response] = await once(request, 'response');
  const text = String(await buffer(response));
  const { status = response.statusCode } = response;
  return { status, text, ...(await answered({ status, headers: response.headers })) };
}

describe('amesh.sign()', () => {
  const form = new FormData();
  form.set('note', 'grüße ☃');
  form.set('file', new Blob(['bytes']), 'a.txt');
  const file = fileURLToPath(import.meta.url);

  it.each<[string, Omit<RequestToSign, 'url'>]>([
    ['nothing', {}],
    ['a text', { method: 'POST', body: 'grüße' }],
    ['an empty text', { method: 'POST', body: '' }],
    ['JSON', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"a":1}' }],
    ['bytes', { method: 'post', body: new Uint8Array([0, 255, 1]) }],
    ['a form', { method: 'POST', body: new URLSearchParams({ a: '1 ä' }) }],
    ['a multipart form', { method: 'POST', body: form }],
    ['a stream of Node', { method: 'POST', body: createReadStream(file) }],
    ['a stream of texts', { method: 'POST', body: Readable.from(['a', 'b']) }],
    ['a blob', { method: 'PATCH', body: new Blob(['x'], { type: 'image/png' }) }],
  ])('signs %s as the caller will send it', async (_name, parts) => {
    const server = await known.serve();
    const signed = await amesh.sign({ url: `${server.origin}/a%2Fb?q='{}|&x=ä#part`, ...parts });
    expect(signed.url).not.toContain('#');
    expect(await deliver(signed)).toMatchObject({ status: 200, text: 'ok', again: false });
    expect(server.arrived).toMatchObject([
      { caller: 'caller', method: (parts.method ?? 'GET').toUpperCase() },
    ]);
    expect(server.arrived[0]?.body.equals(signed.body ?? Buffer.of())).toBe(true);
    expect(server.arrived[0]?.headers['authmesh-target']).toBe(known.device.identity.deviceId);
    expect(signed.base).toContain('"@method": ');
  });

  it('signs a Request', async () => {
    const server = await known.serve();
    const request = new Request(server.origin, { method: 'POST', body: 'abc', headers: { 'x-own': '1' } });
    const signed = await amesh.sign(request);
    expect(await deliver(signed)).toMatchObject({ status: 200 });
    expect(server.arrived).toMatchObject([{ method: 'POST', headers: { 'x-own': '1' } }]);
    expect(String(server.arrived[0]?.body)).toBe('abc');
  });

  it('accepts headers as Node has them, where each name has its lines', async () => {
    const server = await known.serve();
    const headers = { 'X-Two': ['a', 'b'], 'x-number': 7, 'x-none': undefined, host: 'elsewhere.example' };
    const signed = await amesh.sign({ url: server.origin, headers });
    const names = signed.headers.map(([name]) => name);
    expect(names).toEqual(expect.arrayContaining(['x-two', 'x-number', 'authorization']));
    expect(names).not.toContain('x-none');
    expect(names).not.toContain('host');
    expect(await deliver(signed)).toMatchObject({ status: 200 });
    expect(server.arrived).toMatchObject([{ headers: { 'x-two': 'a, b', 'x-number': '7' } }]);
    // With an object that has no Request behind it, although it looks like one.
    const alike = await amesh.sign({ url: server.origin, method: 'POST', headers: new Headers(), body: 'x' });
    expect(String(alike.body)).toBe('120');
  });

  it('keeps a Content-Digest of the caller for its stream', async () => {
    const server = await known.serve({ verify: { [streamUnverifiedBody]: true } });
    const digest = createHash('sha256').update('long').digest('base64');
    const signed = await amesh.sign({
      url: server.origin,
      method: 'POST',
      headers: { 'content-digest': `sha-256=:${digest}:` },
      body: Readable.from([Buffer.from('long')]),
    });
    expect([signed.body, signed.stream]).toEqual([null, expect.any(ReadableStream)]);
    expect(await deliver(signed)).toMatchObject({ status: 200, again: false });
    expect(String(server.arrived[0]?.body)).toBe('long');
  });

  it('returns a stream that nobody else can read, and locks the one of the caller', async () => {
    const server = await known.serve();
    let reason: unknown;
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      cancel(why) {
        reason = why;
      },
    });
    const headers = { 'content-digest': 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:' };
    const signed = await amesh.sign({ url: server.origin, method: 'POST', headers, body });
    expect(body.locked).toBe(true);
    await signed.stream?.cancel('enough');
    expect(reason).toBe('enough');
  });

  it('signs what it was given, whatever the caller changes afterwards', async () => {
    const server = await known.serve();
    const body = new Uint8Array([1, 2, 3]);
    const headers = new Headers({ 'content-type': 'a/b' });
    const url = new URL(`${server.origin}/first`);
    const signing = amesh.sign({ url, method: 'POST', headers, body });
    body[0] = 9;
    headers.set('content-type', 'c/d');
    url.pathname = '/second';
    expect(await deliver(await signing)).toMatchObject({ status: 200 });
    expect(server.arrived).toMatchObject([{ target: '/first', headers: { 'content-type': 'a/b' } }]);
    expect([...(server.arrived[0]?.body ?? [])]).toEqual([1, 2, 3]);
  });

  it('gives each signature a nonce of its own, so that a second delivery is a replay', async () => {
    const server = await known.serve();
    const signed = await amesh.sign({ url: server.origin });
    expect(await deliver(signed)).toMatchObject({ status: 200 });
    expect(await deliver(signed)).toMatchObject({ status: 401, again: false });
    expect(server.refusals).toMatchObject([{ code: 'replay_detected' }]);
    expect(await deliver(await amesh.sign({ url: server.origin }))).toMatchObject({ status: 200 });
  });

  it('replaces another signature that a gateway forwards', async () => {
    const server = await known.serve();
    const signed = await amesh.sign({
      url: server.origin,
      headers: { 'AuthMesh-Key': 'a.b.c', 'AuthMesh-Rotation': 'x', 'Content-Digest': 'sha-256=:AAAA:' },
    });
    const names = signed.headers.map(([name]) => name);
    expect(names).toEqual(['authmesh-target', 'authorization']);
    expect(await deliver(signed)).toMatchObject({ status: 200 });
  });

  it.each(['authmesh', 'rfc9421'] as const)('replaces its own former signature (%s)', async (format) => {
    const server = await known.serve();
    amesh = known.callerWith({ format });
    const first = await amesh.sign({ url: server.origin, method: 'POST', body: 'x' });
    const { url, method, headers, body } = first;
    const second = await amesh.sign({ url, method, headers: Object.fromEntries(headers), body });
    expect(second.headers.map(([name]) => name).toSorted()).toEqual(headers.map(([name]) => name).toSorted());
    expect(await deliver(second)).toMatchObject({ status: 200 });
    expect(await deliver(first)).toMatchObject({ status: 200 });
  });

  it("does not touch the caller's Authorization, which is covered", async () => {
    const server = await known.serve();
    const signed = await amesh.sign({ url: server.origin, headers: { authorization: 'Bearer x' } });
    expect(signed.headers).toContainEqual(['authorization', 'Bearer x']);
    expect(signed.base).toContain('"authorization": Bearer x');
    expect(await deliver(signed)).toMatchObject({ status: 200 });
  });

  it.each<[string, unknown, unknown, RegExp]>([
    [
      'a misspelt part',
      { url: 'http://a/', boby: '' },
      undefined,
      /^The request of sign\(\) has no option "boby"/,
    ],
    ['a misspelt option', { url: 'http://a/' }, { answer: 'off' }, /^sign\(\) has no option "answer"/],
    ['another URL', { url: 'ftp://a/' }, undefined, /^Only http and https/],
    ['no URL', {}, undefined, /Invalid URL/],
    ['a password', { url: 'http://a:b@c/' }, undefined, /must not contain/],
    ['a body of a GET', { url: 'http://a/', body: 'x' }, undefined, /must not have a body/],
  ])('refuses %s', async (_name, request, options, message) => {
    await expect(amesh.sign(request as RequestToSign, options as object)).rejects.toThrow(message);
  });

  it('ends with its signal, while it reads a body', async () => {
    const controller = new AbortController();
    const endless = Readable.from(
      (async function* () {
        for (;;) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          yield 'x';
        }
      })(),
    );
    const signing = amesh.sign(
      { url: 'http://a/', method: 'POST', body: endless },
      { signal: controller.signal },
    );
    controller.abort(new Error('enough'));
    await expect(signing).rejects.toThrow('enough');
  });
});

describe('a target that is not listed', () => {
  it('gets no signature, and the error says what to do', async () => {
    const server = await known.serve({ isListed: false });
    let asked = 0;
    const careful = known.callerWith({
      signer: { publicKey: known.caller.signer.publicKey, sign: () => Promise.reject(++asked) },
    });
    for (const one of [amesh, careful])
      await expect(one.sign({ url: server.origin })).rejects.toMatchObject({
        code: 'unknown_target',
        detail: `Nothing was signed: no target in the allow list of this machine has the host ${server.authority}.`,
        fix: expect.stringContaining(`amesh trust add --role target --host ${server.authority} LINE`),
      });
    expect(asked).toBe(0);
  });

  it('can be another port, another name, or another scheme with its own port', async () => {
    const server = await known.serve();
    for (const url of [`http://127.0.0.1:1/`, `http://localhost:${server.port}/`, 'https://127.0.0.1/'])
      await expect(amesh.sign({ url })).rejects.toMatchObject({ code: 'unknown_target' });
  });
});

describe('keys', () => {
  it('signs with a working key, and with another one after the server has refused the first', async () => {
    const server = await known.serve();
    const signer = withWorkingKey(known.caller.signer);
    const worker = known.callerWith({ signer });
    const first = await worker.sign({ url: server.origin });
    expect(first.headers).toContainEqual(['authmesh-key', expect.stringContaining('.')]);
    expect(await deliver(first)).toMatchObject({ status: 200 });
    await expect(first.answered({ status: 401, headers: unauthorized })).resolves.toMatchObject({
      again: true,
    });
    const second = await worker.sign({ url: server.origin });
    expect(keyOf(second)).not.toBe(keyOf(first));
    expect(await deliver(second)).toMatchObject({ status: 200, again: false });
  });

  it('signs as a delegate, but only for the targets of the delegation', async () => {
    const server = await known.serve({ verify: { require: 'orders:read' } });
    const lend = async (targets: string[]) => {
      const { text } = await issueDelegation(known.caller.signer, {
        name: 'agent',
        scopes: ['orders:read'],
        targets,
        lifetimeSeconds: 600,
      });
      return known.callerWith({ dir: undefined, env: { AMESH_DELEGATION: text } });
    };
    const own = known.device.identity.deviceId;
    const delegate = await lend([own]);
    expect(await deliver(await delegate.sign({ url: server.origin }))).toMatchObject({ status: 200 });
    const between = await lend([own, known.caller.identity.deviceId]);
    await expect(between.sign({ url: server.origin })).rejects.toMatchObject({
      code: 'unknown_target',
      detail: expect.stringContaining('the delegation of this program names no target'),
    });
  });

  const unauthorized = {
    'www-authenticate': 'AuthMesh error="unauthorized"',
    date: new Date().toUTCString(),
  };
  const keyOf = ({ headers }: SignedRequest) => headers.find(([name]) => name === 'authmesh-key')?.[1];
});

describe('the response', () => {
  it('gives the time of the server, which the next signature uses', async () => {
    const server = await known.serve();
    const signed = await amesh.sign({ url: server.origin });
    const refusal = (aheadMs: number) => ({
      status: 401,
      headers: {
        'www-authenticate': 'AuthMesh error="timestamp_out_of_range"',
        date: new Date(Date.now() + aheadMs).toUTCString(),
      },
    });
    const seconds = async () =>
      Number(/created=(\d+)/.exec((await amesh.sign({ url: server.origin })).base)?.[1]);
    const before = await seconds();
    expect(await signed.answered(refusal(-100_000))).toMatchObject({ again: true });
    expect(before - (await seconds())).toBeGreaterThan(90);
    await expect(signed.answered(refusal(-400_000))).rejects.toMatchObject({ code: 'clock_skew_too_large' });
    await signed.answered({ status: 200, headers: { date: new Date().toUTCString() } });
    expect((await seconds()) - before).toBeLessThan(60);
  });

  it('goes to onRefusal with the reason of a refusal', async () => {
    const server = await known.serve({ verify: { require: 'other:scope' } });
    const told: unknown[] = [];
    const telling = known.callerWith({ onRefusal: (refusal) => void told.push(refusal) });
    const { url, headers, answered } = await telling.sign({ url: server.origin });
    const { response } = await answered(await fetch(url, { headers: headers as [string, string][] }));
    expect(response.status).toBe(403);
    expect(told).toMatchObject([{ code: 'scope_missing', scope: 'other:scope', status: 403 }]);
    expect(await response.json()).toEqual({ error: 'scope_missing', scope: 'other:scope' });
  });

  it('can be proven, even if somebody in between changes it', async () => {
    const server = await known.serve();
    const ask = () => amesh.sign({ url: server.origin }, { answers: 'required' });
    const get = async ({ url, headers }: SignedRequest) =>
      fetch(url, { headers: headers as [string, string][] });
    const first = await ask();
    const { response } = await first.answered(await get(first));
    expect(provenBy(response)).toMatchObject({ target: known.device.identity.deviceId, body: true });
    expect(await response.text()).toBe('ok');

    const second = await ask();
    const honest = await get(second);
    const changed = new Response(Buffer.from('no'), { headers: honest.headers });
    const { response: shown } = await second.answered(changed);
    await expect(shown.text()).rejects.toMatchObject({ code: 'answer_unproven' });
    const third = await ask();
    await expect(third.answered(new Response('ok'))).rejects.toMatchObject({ code: 'answer_unproven' });
    expect((await amesh.sign({ url: server.origin })).headers.map(([name]) => name)).not.toContain(
      'accept-signature',
    );
  });

  it('may come from an upgraded connection, or from HTTP/2', async () => {
    const server = await known.serve();
    const { answered } = await amesh.sign({ url: server.origin });
    const { response } = await answered({ status: 101, headers: { upgrade: 'websocket' } });
    expect([response.status, response.ok]).toEqual([101, false]);
    expect((await answered({ status: 204, headers: { ':status': 204, 'x-a': '1' } })).again).toBe(false);
  });
});

it('needs no `this`', async () => {
  const { sign } = amesh;
  const server = await known.serve();
  expect((await sign({ url: server.origin })).method).toBe('GET');
});
