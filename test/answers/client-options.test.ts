import { createServer } from 'node:https';
import { createAmesh } from '@authmesh/sdk';
import { type AmeshFetchInit, type ClientOptions, createClient, provenBy } from '@authmesh/sdk/core';
import { Agent, fetch as undiciFetch } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, expectTypeOf, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import { signerOf } from '../support/core';
import { type Listening, listen } from '../support/listen';
import { askingClient, provingTarget, sendOn, useProvingServer } from '../support/proving-server';
import { vectors } from '../support/vectors';

const server = useProvingServer();
const signer = () => signerOf('controller');
const { deviceId } = provingTarget;

let secure: Listening;
let agent: Agent;
/** Sends to the https server, whose certificate nobody else knows. */
const trusting = ((input: string, init: object) =>
  undiciFetch(input, { ...init, dispatcher: agent } as object)) as unknown as typeof fetch;

beforeAll(async () => {
  const certificate = createCertificate();
  agent = new Agent({ connect: { ca: certificate.cert } });
  const handler = async (
    request: Parameters<typeof sendOn>[1],
    response: import('node:http').ServerResponse,
  ) => {
    const { status, headers, body } = await sendOn(
      Number(new URL(server.origin).port),
      request,
      Buffer.alloc(0),
    );
    response.writeHead(status, headers.flat()).end(body);
  };
  secure = await listen(
    createServer(certificate, (request, response) => void handler(request, response)) as never,
  );
});
afterAll(async () => {
  await agent.close();
  await secure.close();
});
beforeEach(() => server.reset());

const asked = () => server.seen.map(({ headers }) => headers['accept-signature'] !== undefined);
const httpsOrigin = () => secure.origin.replace('http:', 'https:');

describe('answers', () => {
  it('are proven over http by default, if the key of the target is known', async () => {
    const response = await askingClient().fetch(server.origin);
    expect(provenBy(response)).toMatchObject({ target: deviceId, body: true });
    expect(provenBy(response.clone())?.target).toBe(deviceId);
    expect([response.url, response.type, response.redirected, response.status, response.statusText]).toEqual([
      `${server.origin}/`,
      'basic',
      false,
      200,
      'OK',
    ]);
  });

  it.each<[string, ClientOptions['targetOf']]>([
    ['no target', undefined],
    ['a target without a key', () => deviceId],
    ['a target that cannot prove', () => ({ ...provingTarget, proves: false })],
    ['no target for this host', () => undefined],
  ])('are not asked for with %s, and if they are required, nothing is sent', async (_name, targetOf) => {
    const client = createClient({ signer, targetOf });
    const response = await client.fetch(server.origin);
    expect(await response.text()).toBe('ok');
    expect(provenBy(response)).toBeUndefined();
    expect(asked()).toEqual([false]);
    const error = await client.fetch(server.origin, { answers: 'required' }).catch((thrown) => thrown);
    expect(error).toMatchObject({
      code: 'answer_unproven',
      detail: expect.stringMatching(/^Nothing was sent: /),
    });
    expect(error.status).toBeUndefined();
    expect(server.seen).toHaveLength(1);
  });

  it('over https are asked for only if they are required', async () => {
    server.use({ allowList: listFor(secure.authority) });
    const client = askingClient({ fetch: trusting });
    expect(provenBy(await client.fetch(httpsOrigin()))).toBeUndefined();
    const response = await client.fetch(httpsOrigin(), { answers: 'required' });
    expect(provenBy(response)?.target).toBe(deviceId);
    expect(asked()).toEqual([false, true]);
  });

  it('are not asked for if they are off, per client and per call', async () => {
    server.hands = (answer) => ({ ...answer, body: Buffer.from('forged') });
    expect(await (await askingClient({ answers: 'off' }).fetch(server.origin)).text()).toBe('forged');
    expect(await (await askingClient().fetch(server.origin, { answers: 'off' })).text()).toBe('forged');
    expect(asked()).toEqual([false, false]);
    await expect((await askingClient().fetch(server.origin)).text()).rejects.toMatchObject({
      code: 'answer_unproven',
    });
  });

  it.each(['on', '', true, null, 1])('%j is a TypeError, and nothing is sent', async (value) => {
    const answers = value as never;
    expect(() => createClient({ signer, answers })).toThrow(TypeError);
    expect(() => createAmesh({ answers })).toThrow(TypeError);
    await expect(askingClient().fetch(server.origin, { answers })).rejects.toThrow(TypeError);
    expect(server.seen).toEqual([]);
  });

  it('are an option that the underlying fetch never sees', async () => {
    let options: object = {};
    const spy = ((input: string, init: RequestInit) => {
      options = init;
      return fetch(input, init);
    }) as typeof fetch;
    await askingClient({ fetch: spy }).fetch(server.origin, { answers: 'auto', keepalive: true });
    expect(options).toMatchObject({ keepalive: true });
    expect(options).not.toHaveProperty('answers');
    expect(Object.getOwnPropertySymbols(options)).toEqual([]);
    expectTypeOf<AmeshFetchInit>().toExtend<RequestInit>();
  });

  it.each(['authmesh', 'rfc9421'] as const)('are proven to a request in the form %s', async (format) => {
    const response = await askingClient({ format }).fetch(server.origin, { method: 'POST', body: 'x' });
    expect(provenBy(response)?.target).toBe(deviceId);
  });

  it('of a target whose ID does not match its key are an error, and nothing is sent', async () => {
    const { publicKey } = await signerOf('stranger');
    const client = askingClient({ targetOf: () => ({ deviceId, publicKey }) });
    await expect(client.fetch(server.origin)).rejects.toThrow(
      `The key of ${deviceId} does not match its ID.`,
    );
    const short = askingClient({ targetOf: () => ({ deviceId, publicKey: new Uint8Array(65) }) });
    await expect(short.fetch(server.origin)).rejects.toThrow(TypeError);
    expect(server.seen).toEqual([]);
  });

  it('of a target that signs with an answer key are proven, too', async () => {
    // The statement of another device proves nothing.
    const { deviceId: other } = vectors.devices.stranger;
    const client = askingClient({ targetOf: () => ({ ...provingTarget, deviceId: other }) });
    await expect(client.fetch(server.origin)).rejects.toThrow(`The key of ${other} does not match its ID.`);
  });
});

function listFor(host: string) {
  const { controller, target } = vectors.devices;
  const device = { ...controller, friendlyName: 'controller', roles: ['controller'] as const };
  return { deviceId: target.deviceId, hosts: [host], devices: [device] };
}

describe('Accept-Encoding', () => {
  it('is identity if a proof is asked for, and otherwise the value of fetch', async () => {
    await askingClient().fetch(server.origin);
    await askingClient({ answers: 'off' }).fetch(server.origin);
    const sent = server.seen.map(({ headers }) => headers['accept-encoding']);
    expect(sent[0]).toBe('identity');
    expect(sent[1]).not.toBe('identity');
  });

  it('stays as the caller set it', async () => {
    await askingClient().fetch(server.origin, { headers: { 'accept-encoding': 'gzip' } });
    expect(server.seen[0]?.headers['accept-encoding']).toBe('gzip');
  });
});

describe('a redirect', () => {
  beforeEach(() => {
    server.routes.set('/a', () => ({ status: 302, headers: { location: '/b?c' } }));
    server.routes.set('/b', () => ({ body: 'b' }));
    server.routes.set('/away', () => ({ status: 302, headers: { location: `${secure.origin}/x` } }));
    server.routes.set('/post', () => ({ status: 307, headers: { location: '/b' } }));
  });

  it('over http is followed if it is proven, and so is what comes after it', async () => {
    const name = server.origin.replace('127.0.0.1', '0.0.0.0'); // no loopback name, so not private
    server.use({ allowList: listFor(new URL(name).host) });
    const response = await askingClient().fetch(`${name}/a`);
    expect(await response.text()).toBe('b');
    expect([response.redirected, response.url]).toEqual([true, `${name}/b?c`]);
    expect(provenBy(response)?.target).toBe(deviceId);
    expect(response.clone).toBeTypeOf('function');
    await expect(askingClient({ answers: 'off' }).fetch(`${name}/a`)).rejects.toMatchObject({
      code: 'redirect_refused',
    });
  });

  it('of a POST is refused, even if it is proven', async () => {
    const call = askingClient().fetch(`${server.origin}/post`, { method: 'POST', body: 'x' });
    await expect(call).rejects.toMatchObject({ code: 'redirect_refused' });
    expect(server.done).toEqual(['x']);
  });

  it('to another origin, which cannot prove its answer, is refused if a proof is required', async () => {
    const call = askingClient().fetch(`${server.origin}/away`, { answers: 'required' });
    await expect(call).rejects.toMatchObject({ code: 'redirect_refused' });
    expect(server.seen).toHaveLength(1);
  });

  it('is returned with its proof if the caller follows it', async () => {
    const response = await askingClient().fetch(`${server.origin}/a`, { redirect: 'manual' });
    expect([response.status, provenBy(response)?.headers.get('location')]).toEqual([302, '/b?c']);
  });
});

describe('a part, and an answer that has not changed,', () => {
  it.each([
    [206, 'range', 'bytes=0-0'],
    [304, 'if-none-match', '"v1"'],
    [304, 'if-modified-since', 'Sun, 01 Nov 2026 00:00:00 GMT'],
  ])(
    '%d, is proven to a caller that asks for it with %s, and to nobody else',
    async (status, name, value) => {
      server.routes.set('/', () => ({ status, headers: { etag: '"v1"' }, body: status === 304 ? '' : 'x' }));
      const response = await askingClient().fetch(server.origin, { headers: { [name]: value } });
      expect([response.status, await response.text()]).toEqual([status, status === 304 ? '' : 'x']);
      await expect(askingClient().fetch(server.origin)).rejects.toMatchObject({
        code: 'answer_unproven',
        status,
      });
    },
  );
});
