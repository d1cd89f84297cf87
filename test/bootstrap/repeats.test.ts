import { createReadStream, openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Amesh } from '@authmesh/sdk';
import { expect, it } from 'vitest';
import { ENROLMENT_PATH } from '../support/enrolling';
import { useEnrolling } from '../support/use-enrolling';
import { digestOf } from '../support/verdict';

const enrolling = useEnrolling();

const TEXT = 'what the first try sends';
const bytes = Buffer.from(TEXT);

async function* generator() {
  yield bytes.subarray(0, 5);
  yield bytes.subarray(5);
}

/**
 * A target of which an instance has not heard of an enrolment yet: it is taken there only once a signed request was refused.
 *
 * @returns a caller that has enrolled nowhere yet, and the bodies that it has sent
 */
async function late(): Promise<{
  caller: Amesh;
  origin: string;
  sent: (Buffer | null)[];
  statuses: number[];
}> {
  const target = await enrolling.target();
  const { token } = await target.grant({ proves: false }); // whose answers to enrolments are believed
  const sent: (Buffer | null)[] = [];
  const statuses: number[] = [];
  let held: (() => Promise<Response>) | undefined;
  const caller: Amesh = enrolling.caller(token, {
    async fetch(input, init) {
      if (String(input).endsWith(ENROLMENT_PATH)) {
        held = () => fetch(input, init);
        const { deviceId } = await caller.identity();
        return Response.json({ deviceId, expiresAt: null });
      }
      const { body } = init as { body: Uint8Array | ReadableStream | null };
      sent.push(body instanceof ReadableStream || body === null ? null : Buffer.from(body));
      const response = await fetch(input, init);
      statuses.push(response.status);
      await held?.();
      held = undefined;
      return response;
    },
  });
  return { caller, origin: target.origin, sent, statuses };
}

const half = { method: 'POST', duplex: 'half' } as const;
const post = (body: unknown) => (origin: string) => [origin, { ...half, body }] as [string, RequestInit];

const BODIES: Record<string, (folder: string) => (origin: string) => [string | Request, RequestInit?]> = {
  'fs.createReadStream': (folder) => post(createReadStream(join(folder, 'file'))),
  'Readable.from': () => post(Readable.from([bytes.subarray(0, 5), bytes.subarray(5)])),
  'an async generator': () => post(generator()),
  'a ReadableStream': () => post(new Blob([TEXT]).stream()),
  'a branch of a teed ReadableStream': () => post(new Blob([TEXT]).stream().tee()[1]),
  'a Request with a stream': () => (origin) => [
    new Request(origin, { ...half, body: new Blob([TEXT]).stream() } as RequestInit),
  ],
  'a clone of a Request': () => (origin) => [new Request(origin, { method: 'POST', body: TEXT }).clone()],
  'a string': () => post(TEXT),
  'a Uint8Array': () => post(new Uint8Array(bytes)),
};

it.each(Object.entries(BODIES))(
  'the first request after an enrolment, repeated, sends what the first try sent: %s',
  async (_name, make) => {
    await writeFile(join(enrolling.root, 'file'), TEXT);
    const { caller, origin, sent, statuses } = await late();
    const response = await caller.fetch(...make(enrolling.root)(origin));
    expect([response.status, await response.text()]).toEqual([200, 'passed']);
    expect(statuses).toEqual([401, 200]);
    expect(sent.map(String)).toEqual([TEXT, TEXT]);
  },
);

it('a file that is rewritten between the two attempts is sent as it was', async () => {
  const path = join(enrolling.root, 'file');
  await writeFile(path, TEXT);
  const { caller, origin, sent } = await late();
  const form = new FormData();
  form.set('file', await openAsBlob(path), 'file');
  const call = caller.fetch(origin, { method: 'POST', body: form });
  await expect.poll(() => sent.length).toBe(1);
  await writeFile(path, 'another');
  expect((await call).status).toBe(200);
  expect(String(sent[0])).toContain(TEXT);
  expect(sent[1]).toEqual(sent[0]);
});

it('changes by the caller after the call change neither attempt', async () => {
  const { caller, origin, sent } = await late();
  const body = new Uint8Array(bytes);
  const headers = new Headers({ 'content-type': 'text/before' });
  const url = new URL(`${origin}/before`);
  const init: RequestInit = { method: 'POST', body, headers };
  const call = caller.fetch(url, init);
  body.fill(0);
  headers.set('content-type', 'text/after');
  url.pathname = '/after';
  Object.assign(init, { method: 'PUT', body: 'after' });
  const response = await call;
  expect([response.status, response.url]).toEqual([200, `${origin}/before`]);
  expect(sent.map(String)).toEqual([TEXT, TEXT]);
});

it('a stream that is sent while it arrives is sent once: the refusal is returned, and the log says why', async () => {
  const { caller, origin, sent, statuses } = await late();
  const headers = { 'content-digest': digestOf(bytes) };
  const response = await caller.fetch(origin, {
    ...half,
    headers,
    body: generator(),
  } as unknown as RequestInit);
  expect([response.status, statuses, sent]).toEqual([401, [401], [null]]);
  expect(enrolling.logged.mock.calls.flat()).toContainEqual(
    expect.stringMatching(
      /refused a request right after this machine enrolled.* can be sent only once: call again\.$/,
    ),
  );
  expect((await caller.fetch(origin)).status).toBe(200);
});

it('a refusal after a redirect is not repeated: a handler may have run before it', async () => {
  const target = await enrolling.target();
  const { token } = await target.grant({ hosts: [], proves: false });
  let calls = 0;
  const server = createServer((request, response) => {
    if (request.url !== '/there') calls++;
    const challenge = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    if (request.url === '/there') response.writeHead(401, challenge).end();
    else response.writeHead(303, { location: '/there' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const caller: Amesh = enrolling.caller(token, {
    async fetch(input, init) {
      if (!String(input).endsWith(ENROLMENT_PATH)) return fetch(input, init);
      return Response.json({ deviceId: (await caller.identity()).deviceId, expiresAt: null });
    },
  });
  const response = await caller.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: TEXT });
  expect([response.status, response.redirected]).toEqual([401, true]);
  expect(calls).toBe(1);
  server.close();
});
