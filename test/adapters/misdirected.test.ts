import { once } from 'node:events';
import { connect } from 'node:net';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { fastifies } from '../support/fastify';
import { frameworks } from '../support/frameworks';
import { latest, times } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';
import type { Calls } from './servers/misdirected-caller';

/**
 * The fetch of Node sends a request again that was answered by 421. Where that answer begins before the body is read and the
 * connection ends later, it fails at random, with a mismatch of the content-length.
 */

const machines = usePair();
const OTHER = { hosts: ['api.example.com'] };
const HANDLERS: [string, () => Promise<Listening | { port: number; close(): Promise<unknown> }>][] = [
  ...latest(frameworks).map(({ name, express }): (typeof HANDLERS)[number] => [
    name,
    () => listen(express().use(machines.target.verify(OTHER) as never) as never),
  ]),
  ...latest(fastifies).map((kind): (typeof HANDLERS)[number] => [
    kind.name,
    async () => {
      const app = kind.fastify();
      await app.register(authMesh as never, { amesh: machines.target, ...OTHER } as never);
      app.post('/', async () => 'in');
      await app.listen({ port: 0, host: '127.0.0.1' });
      return { port: (app.server.address() as { port: number }).port, close: () => app.close() as never };
    },
  ]),
  [
    'node:http',
    () => {
      const check = machines.target.verify(OTHER);
      return listen((request, response) => check(request, response, () => void response.end('in')));
    },
  ],
  [
    'Hono',
    () => {
      const app = new Hono().use(verify({ amesh: machines.target, ...OTHER }));
      return listen(getRequestListener(app.fetch));
    },
  ],
];

const COUNT = times(20, 150);

let script: Script;
let caller: Child;
let asked = 0;
beforeAll(async () => {
  script = await toScript('test/adapters/servers/misdirected-caller.ts');
  caller = script.start();
});
afterAll(async () => {
  caller.process.stdin.end();
  await caller.ended;
  script.remove();
});

describe.each(HANDLERS)('a POST for another host, at %s', (name, start) => {
  let server: Awaited<ReturnType<typeof start>>;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.close());

  /** What the process of a caller has got. */
  function answersTo(calls: Pick<Calls, 'dir' | 'headers'>): Promise<string> {
    caller.tell(JSON.stringify({ url: `http://127.0.0.1:${server.port}/`, count: COUNT, ...calls }));
    return caller.line(`done ${asked++} `);
  }

  const bare = async () => {
    const authority = `127.0.0.1:${server.port}`;
    const { headers } = await signedRaw(machines.signer, authority, { method: 'POST', body: 'x' });
    const fields = Object.fromEntries(headers.slice(1).map((line) => line.split(/: (.*)/s).slice(0, 2)));
    expect(await answersTo({ headers: fields })).toBe(`{"421":${COUNT}}`);
  };
  // Hono sends the head and the body of an exception apart, whatever we do.
  if (name !== 'Hono') it('is answered by 421 each time, to the fetch of another process', bare);

  it('gets a 421 each time, with amesh.fetch of another process', async () => {
    expect(await answersTo({ dir: machines.controllerDir })).toBe(`{"421":${COUNT}}`);
  });

  it('gets a response within the second that a refusal waits, if its body does not arrive', async () => {
    const socket = connect(server.port, '127.0.0.1');
    const authority = `127.0.0.1:${server.port}`;
    const request = { method: 'POST', body: 'whole' };
    const { line, headers } = await signedRaw(machines.signer, authority, request);
    socket.write(head(line, [...headers, 'Content-Length: 5']));
    const [chunk] = await once(socket.setEncoding('latin1'), 'data');
    expect(chunk).toMatch(/^HTTP\/1\.1 421 /);
    socket.destroy();
  });
});
