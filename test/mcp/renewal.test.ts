import type { ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { bridge, json, result, usual } from './server';

const call = (id: unknown) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: {} });
const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: {} };

/** A server that is strict about its sessions, and holds what begins a new one. */
async function renewing() {
  const server = {
    /** The present session. */
    session: 1,
    /** The capabilities of the server. */
    version: 1,
    holds: '',
    held: undefined as (() => void) | undefined,
    fails: undefined as ((response: ServerResponse) => void) | undefined,
    isInitialized: false,
    /** What came without the session, or before it was initialised. */
    early: [] as unknown[],
  };
  const it = await bridge(async (request, response) => {
    const { method, message, headers } = request;
    const name = message?.method ?? '';
    if (method !== 'POST') return usual(request, response);
    if (name === server.holds)
      await new Promise<void>((resolve) => {
        server.held = resolve;
      });
    if (name === 'initialize') {
      if (server.fails !== undefined) return server.fails(response);
      server.isInitialized = false;
      const agreed = { protocolVersion: '2025-06-18', capabilities: { version: server.version } };
      const own = { 'mcp-session-id': `session-${server.session}` };
      return json(response, result(message?.id, agreed), own);
    }
    const id = headers['mcp-session-id'];
    if (id === undefined) {
      server.early.push(name);
      return json(response, {}, {}, 400);
    }
    if (id !== `session-${server.session}`) return json(response, {}, {}, 404);
    if (name === 'notifications/initialized') server.isInitialized = true;
    else if (!server.isInitialized) {
      server.early.push(name);
      return json(response, {}, {}, 400);
    }
    return usual(request, response);
  });
  await it.begin();
  await it.ask(call(1));
  server.session = 2;
  return { it, server };
}

/** Other requests to the server, which take longer than the way of a message to it. */
async function others({ caller }: Awaited<ReturnType<typeof bridge>>) {
  for (let i = 0; i < 5; i++) await caller.fetch('/mcp');
}

describe('while amesh mcp begins a lost session again', () => {
  it.each(['initialize', 'notifications/initialized'])('what the client sends waits: %s', async (name) => {
    const { it, server } = await renewing();
    server.holds = name;
    it.send(call(2));
    await expect.poll(() => server.held).toBeDefined();
    const before = it.asked.length;
    it.send(progress);
    it.send(call(3));
    it.send(result('of the server', {}));
    await others(it);
    server.holds = '';
    server.held?.();
    expect([(await it.next()).id, (await it.next()).id].toSorted()).toEqual([2, 3]);
    await it.end();
    expect(server.early).toEqual([]);
    const after = it.asked.slice(before).filter(({ method }) => method === 'POST');
    const sessions = after.map(({ message, headers }) => [message?.method, headers['mcp-session-id']]);
    for (const method of ['notifications/progress', 'tools/call', undefined])
      expect(sessions).toContainEqual([method, 'session-2']);
    expect(it.told).toEqual(['The server has ended the session: a new one begins.']);
  });

  it('a failure is the error of each request that waits, and the next request tries again', async () => {
    const { it, server } = await renewing();
    server.fails = (response) => json(response, { error: { message: 'starting' } }, {}, 503);
    server.holds = 'initialize';
    it.send(call(2));
    await expect.poll(() => server.held).toBeDefined();
    it.send(call(3));
    await others(it);
    server.holds = '';
    server.held?.();
    const error = {
      message: expect.stringContaining('The server responded with 503'),
      data: { status: 503 },
    };
    const both = [await it.next(), await it.next()].toSorted((a, b) => Number(a.id) - Number(b.id));
    expect(both).toMatchObject([
      { id: 2, error },
      { id: 3, error },
    ]);
    expect(await it.ask(call(4))).toMatchObject({ id: 4, error });
    server.fails = undefined;
    expect(await it.ask(call(5))).toEqual(result(5, { was: 'tools/call' }));
    await it.end();
    expect(server.early).toEqual([]);
  });

  it('it can be stopped', async () => {
    const { it, server } = await renewing();
    server.holds = 'initialize';
    it.send(call(2));
    await expect.poll(() => server.held).toBeDefined();
    it.send(call(3));
    it.controller.abort();
    await it.running;
    expect(server.early).toEqual([]);
    server.held?.();
  });
});

it('sends nothing more to a server that is another one now', async () => {
  const { it, server } = await renewing();
  server.version = 2;
  const error = { message: expect.stringContaining('another one now') };
  expect(await it.ask(call(2))).toMatchObject({ id: 2, error });
  const before = it.asked.length;
  expect(await it.ask(call(3))).toMatchObject({ id: 3, error });
  expect(it.asked).toHaveLength(before);
  await it.end();
});

it('does not look for the stream of a lost session in the next one', async () => {
  let session = 1;
  let open: ServerResponse | undefined;
  const it = await bridge((request, response) => {
    const { method, message, headers } = request;
    if (message?.method === 'initialize') {
      const agreed = { protocolVersion: '2025-06-18', capabilities: {} };
      return json(response, result(message.id, agreed), { 'mcp-session-id': `session-${session}` });
    }
    if (headers['mcp-session-id'] !== `session-${session}`) return json(response, {}, {}, 404);
    if (method === 'GET' && headers['last-event-id'] !== undefined)
      return response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .end(`data: ${JSON.stringify(result(2, { isOfAnother: true }))}\n\n`);
    if (message?.id !== 2) return usual(request, response);
    open = response.writeHead(200, { 'content-type': 'text/event-stream' });
    return open.write('id: e1\nretry: 1\ndata:\n\n');
  });
  await it.begin();
  it.send(call(2));
  await expect.poll(() => open).toBeDefined();
  session = 2;
  expect(await it.ask(call(3))).toEqual(result(3, { was: 'tools/call' }));
  open?.destroy();
  expect(await it.next()).toMatchObject({
    id: 2,
    error: { message: expect.stringContaining('It may have carried the request out.') },
  });
  expect(it.asked.filter(({ headers }) => headers['last-event-id'] !== undefined)).toEqual([]);
  await it.end();
});
