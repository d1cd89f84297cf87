import { gzipSync } from 'node:zlib';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';
import { type Passing, useProvingServer } from '../support/proving-server';
import { requireRuntime, startServer } from '../support/runtime-server';
import { vectors } from '../support/vectors';

const SCRIPT = new URL('proofs.mjs', import.meta.url).pathname;
const server = useProvingServer();

beforeAll(() => ensureBuilt(), 180_000);
beforeEach(() => {
  server.reset();
  const { routes } = server;
  routes.set('/plain', () => ({ headers: { 'content-type': 'text/plain' }, body: 'plain' }));
  routes.set('/empty', () => ({}));
  routes.set('/none', () => ({ status: 204 }));
  routes.set('/big', () => ({ body: 'x'.repeat(1024 ** 2) }));
  routes.set('/forbidden', () => ({ status: 403, body: 'no' }));
  routes.set('/redirect', () => ({ status: 302, headers: { location: '/plain' } }));
  routes.set('/cookies', () => ({ headers: { 'set-cookie': ['a=1, b', 'c=2'] }, body: '{"a":1}' }));
  routes.set('/events', () => ({ headers: { 'content-type': 'text/event-stream' }, body: events() }));
  server.hands = (answer, { url = '' }) =>
    [...new URL(url, 'http://x').searchParams.keys()].reduce((was, name) => change(was, name), answer);
});

async function* events() {
  yield Buffer.from('data: 1\n\n');
}

function change(answer: Passing, name: string): Passing {
  const { body, headers } = answer;
  const coded = (coding: string, bytes: Buffer): Passing => ({
    ...answer,
    body: bytes,
    headers: [...headers, ['content-encoding', coding]],
  });
  switch (name) {
    case 'gzip':
      return coded(name, gzipSync(body));
    case 'wrong':
      return { ...answer, body: Buffer.from(body.toString().replace(/.$/, '!')) };
    case 'cut':
      return { ...answer, body: body.subarray(0, -1) };
    case 'longer':
      return { ...answer, body: Buffer.concat([body, body]) };
    case 'none':
      return { ...answer, body: Buffer.alloc(0) };
    case 'status':
      return { ...answer, status: 201 };
    case 'bare':
      return { ...answer, headers: headers.filter(([header]) => !header.startsWith('signature')) };
    case 'cookie':
      return { ...answer, headers: [...headers, ['set-cookie', 'd=3']] };
    case 'refused':
      return { status: 401, headers: [['www-authenticate', 'AuthMesh error="unauthorized"']], body };
    case 'hang':
      return { ...answer, stream: pieces(body, new Promise(() => {})) };
    case 'break':
      return { ...answer, stream: pieces(body, Promise.reject(new Error('the server crashed'))) };
    default:
      throw new Error(`There is no change ${name}.`);
  }
}

async function* pieces(body: Buffer, end: Promise<never>) {
  end.catch(() => {});
  yield body.subarray(0, 200_000);
  await end;
}

const UNPROVEN = { error: 'answer_unproven' };

describe.each(['node', 'bun', 'deno', 'workerd'] as const)('the client of %s', (name) => {
  it('accepts what is proven, and nothing else', async () => {
    const runtime = await requireRuntime(name);
    if (runtime === null) return;
    const { controller, target } = vectors.devices;
    const { deviceId, publicKey } = target;
    const facts = { origin: server.origin, privateKey: controller.privateKeyJwk, deviceId, publicKey };
    const results = await (name === 'workerd'
      ? runWorker(runtime, facts)
      : runtime.run(SCRIPT, [JSON.stringify(facts)], process.env).then(({ stdout }) => JSON.parse(stdout)));
    const {
      'a body that is aborted': aborted,
      'a connection that breaks': broken,
      ...others
    } = results as Record<string, unknown>;
    expect(aborted).toEqual({ error: expect.anything() });
    expect(broken).toEqual({ error: expect.anything() });
    const changes = ['wrong', 'cut', 'longer', 'none', 'status', 'bare', 'refused', 'cookie'];
    const readers = ['text', 'arrayBuffer', 'a stream', 'a clone'];
    expect(others).toEqual({
      'a body': [200, 'plain', true],
      'no body': [200, '', true],
      204: [204, '', true],
      HEAD: [200, '', true],
      POST: [200, 'plain', true],
      '1 MiB': [200, 1024 ** 2, true],
      'a refusal': [403, 'no', true],
      'a redirect': [true, true, 'plain'],
      cookies: ['a=1, b', 'c=2'],
      'a clone': ['plain', 'plain', true],
      'compressed on the way': [200, 'plain', true],
      'compressed, for which the program asked': [200, 'plain', true],
      'compressed, and another body': UNPROVEN,
      'a stream': UNPROVEN,
      'a stream that is allowed': [200, 'data: 1\n\n', false],
      ...Object.fromEntries(changes.flatMap((one) => readers.map((by) => [`${one}: ${by}`, UNPROVEN]))),
    });
  });
});

async function runWorker(runtime: NonNullable<Awaited<ReturnType<typeof requireRuntime>>>, facts: object) {
  const worker = await startServer(runtime, 'test/runtimes/proofs-worker.ts', { isBuilt: true });
  try {
    const response = await fetch(`http://127.0.0.1:${worker.port}/`, {
      method: 'POST',
      body: JSON.stringify(facts),
    });
    return await response.json();
  } finally {
    await worker.close();
  }
}
