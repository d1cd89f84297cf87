import { createClient } from '@authmesh/sdk/core';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { unmadeBody } from '../../src/adapters/hono/unmade-body';
import { verify } from '../../src/entries/hono';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';

// On Node, the body of an answer is taken as its handler gave it, where nobody has made a stream of it.

const MAKERS: Record<string, () => Response | Promise<Response>> = {
  text: () => new Response('grüße', { headers: { 'content-type': 'text/plain' } }),
  'text without a type': () => new Response('abc'),
  'no text': () => new Response(''),
  bytes: () => new Response(new Uint8Array([0, 255, 10]), { headers: { 'content-type': 'image/png' } }),
  'bytes that are written again': () => {
    const bytes = new Uint8Array([1, 2, 3]);
    setImmediate(() => bytes.fill(9));
    return new Response(bytes);
  },
  blob: () => new Response(new Blob(['blob'])),
  'a form': () => new Response(new URLSearchParams({ a: '1' })),
  stream: () => new Response(new Blob(['stream']).stream()),
  'no body': () => new Response(null, { status: 204 }),
  'what somebody has already read': async () => {
    const response = new Response('read');
    await response.clone().text();
    return response;
  },
  'a copy of another': () =>
    new Response('copied', new Response('x', { status: 201, headers: { 'x-a': 'b' } })),
};

let machines: Machines;
let server: Listening;

beforeAll(async () => {
  machines = await createMachines();
  const app = new Hono();
  app.use(verify({ amesh: machines.target }));
  for (const [name, make] of Object.entries(MAKERS)) app.get(`/${encodeURI(name)}`, make);
  app.get('/json', (c) => c.json({ ok: true }, 201));
  app.get('/later', (c) => c.text('changed later'));
  server = await listen(createAdaptorServer({ fetch: app.fetch }) as never);
});
afterAll(async () => {
  await server.close();
  await machines.remove();
});

// Where this turns red, a new version of the server keeps it elsewhere, and proofs still work, but cost more.
it.each([
  ['text', Buffer.from('grüße')],
  ['bytes', Buffer.from([0, 255, 10])],
  ['blob', undefined],
  ['what somebody has already read', undefined],
])('finds the body of %s: %s', async (name, bytes) => {
  const found = unmadeBody((await MAKERS[name]?.()) as Response);
  expect(found && Buffer.from(found)).toEqual(bytes);
});

it.each([...Object.keys(MAKERS), 'json', 'later'])('proves %s', async (name) => {
  const url = `${server.origin}/${encodeURI(name)}`;
  const { deviceId, publicKey } = await machines.target.identity();
  const target = { deviceId, publicKey: Buffer.from(publicKey, 'base64url') };
  const callBy = (answers: 'required' | 'off') =>
    createClient({ signer: machines.signer, targetOf: () => target, answers }).fetch(url);
  const [plain, proven] = [await callBy('off'), await callBy('required')];
  expect(proven.status).toBe(plain.status);
  expect(proven.headers.get('content-type')).toBe(plain.headers.get('content-type'));
  expect(Buffer.from(await proven.arrayBuffer())).toEqual(Buffer.from(await plain.arrayBuffer()));
});
