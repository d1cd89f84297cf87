import { AnswerUnprovenError } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { thrownFailure } from '../../src/cli/src/mcp/failure-text';
import { bridge, initialize, initialized, json, result, usual } from './server';

const call = (id: unknown, params: object = {}) => ({ jsonrpc: '2.0', id, method: 'tools/call', params });
const events = (...blocks: string[]) => blocks.map((block) => `${block}\n\n`).join('');
const stream = { 'content-type': 'text/event-stream' };

describe('amesh mcp', () => {
  it('does not say that nobody responds if the environment is wrong', () => {
    const error = new TypeError('AMESH_DELEGATION and AUTH_MESH_DIR are both given.');
    expect(thrownFailure(error)).toEqual({ message: error.message });
    const silent = new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') });
    expect(thrownFailure(silent)).toEqual({
      message: 'The server could not be reached: fetch failed: connect ECONNREFUSED',
    });
  });

  it('does not say that nobody responds if a response breaks off', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method !== 'tools/call') return usual(request, response);
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
      return response.write('{"jsonrpc":', () => response.destroy());
    });
    await it.begin();
    expect(await it.ask(call(5))).toMatchObject({
      id: 5,
      error: { code: -32_000, message: expect.stringContaining('It may have carried the request out.') },
    });
    await it.end();
  });

  it('advises no option of the API, which it has no flag for', () => {
    const { message } = thrownFailure(new AnswerUnprovenError('It is not proven.', {}));
    expect(message).toMatch(/If the target cannot sign answers, call it over https\.$/);
  });

  it('begins a session, keeps its ID and version, and ends it', async () => {
    const it = await bridge();
    expect(await it.ask(initialize)).toMatchObject({
      id: 'begin',
      result: { protocolVersion: '2025-06-18' },
    });
    it.send(initialized);
    expect(await it.ask(call(1))).toEqual(result(1, { was: 'tools/call' }));
    await it.end();
    const seen = it.asked.map(({ method, message, headers }) => [
      method,
      message?.method,
      headers['mcp-session-id'],
      headers['mcp-protocol-version'],
    ]);
    expect(seen[0]).toEqual(['POST', 'initialize', undefined, undefined]);
    expect(seen[1]).toEqual(['POST', 'notifications/initialized', 'session-1', '2025-06-18']);
    expect(seen.slice(2, -1).toSorted()).toEqual([
      ['GET', undefined, 'session-1', '2025-06-18'],
      ['POST', 'tools/call', 'session-1', '2025-06-18'],
    ]);
    expect(seen.at(-1)).toEqual(['DELETE', undefined, 'session-1', '2025-06-18']);
    expect(it.asked[0]?.headers.accept).toBe('application/json, text/event-stream');
    expect(it.told).toEqual([]);
  });

  it('sends nothing before the response to initialize, and keeps the order', async () => {
    const it = await bridge(async (request, response) => {
      if (request.message?.method === 'initialize') await new Promise((resolve) => setTimeout(resolve, 30));
      return usual(request, response);
    });
    it.send(initialize);
    it.send(initialized);
    it.send(call(1));
    expect([(await it.next()).id, (await it.next()).id]).toEqual(['begin', 1]);
    await it.end();
    const posts = it.asked.filter(({ method }) => method === 'POST').map(({ message }) => message?.method);
    expect(posts).toEqual(['initialize', 'notifications/initialized', 'tools/call']);
  });

  it('passes on what a stream says before the response, and what the client answers to that', async () => {
    let goOn = () => {};
    const it = await bridge(async ({ method, message, headers }, response) => {
      if (message?.method !== 'tools/call') {
        if (message?.id === 'q') goOn();
        return usual({ method, message, headers }, response);
      }
      response.writeHead(200, stream);
      response.write(': hello\n\n');
      response.write(
        events(
          'id: 1\ndata:',
          'event: message\ndata: {"jsonrpc":"2.0",\ndata: "method":"notifications/progress"}',
          'event: ping\ndata: nothing of ours',
          'data: {"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}',
        ),
      );
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      response.end(events(`data: ${JSON.stringify(result(message.id))}`));
    });
    await it.begin();
    expect(await it.ask(call(5))).toEqual({ jsonrpc: '2.0', method: 'notifications/progress' });
    expect(await it.next()).toMatchObject({ id: 'q', method: 'sampling/createMessage' });
    it.send(result('q', { role: 'assistant' }));
    expect(await it.next()).toEqual(result(5));
    await it.end();
  });

  it('continues a stream that broke, by the ID of its last event', async () => {
    const it = await bridge(({ method, message, headers }, response) => {
      const lastId = headers['last-event-id'];
      if (method === 'GET' && lastId === 'e1')
        return response.writeHead(200, stream).end(events('id: e2\nretry: 1\ndata:'));
      if (method === 'GET' && lastId === 'e2')
        return response
          .writeHead(200, stream)
          .end(events(`id: e3\ndata: ${JSON.stringify(result(5, { late: true }))}`));
      if (message?.method !== 'tools/call') return usual({ method, message, headers }, response);
      response.writeHead(200, stream);
      response.write(events('id: e1\nretry: 1\ndata: {"jsonrpc":"2.0","method":"notifications/message"}'));
      return setImmediate(() => response.destroy());
    });
    await it.begin();
    expect(await it.ask(call(5))).toMatchObject({ method: 'notifications/message' });
    expect(await it.next()).toEqual(result(5, { late: true }));
    await it.end();
  });

  it('continues a stream once the server is there again', async () => {
    let asked = 0;
    const it = await bridge(({ method, message, headers }, response) => {
      if (method === 'GET' && headers['last-event-id'] === 'e1')
        return ++asked < 3
          ? response.writeHead(503).end()
          : response.writeHead(200, stream).end(events(`id: e2\ndata: ${JSON.stringify(result(5))}`));
      if (message?.method !== 'tools/call') return usual({ method, message, headers }, response);
      return response.writeHead(200, stream).end(events('id: e1\nretry: 1\ndata:'));
    });
    await it.begin();
    expect(await it.ask(call(5))).toEqual(result(5));
    await it.end();
  });

  it.each([
    ['has no ID', 'data: {"jsonrpc":"2.0","method":"notifications/message"}'],
    ['cannot be resumed', 'id: e1\nretry: 1\ndata: {"jsonrpc":"2.0","method":"notifications/message"}'],
  ])('says that it does not know what happened to a request whose stream %s', async (_what, event) => {
    const it = await bridge((request, response) => {
      if (request.message?.method !== 'tools/call') return usual(request, response);
      return response.writeHead(200, stream).end(events(event));
    });
    await it.begin();
    await it.ask(call(5));
    expect(await it.next()).toMatchObject({
      id: 5,
      error: { code: -32_000, message: expect.stringContaining('It may have carried the request out.') },
    });
    await it.end();
  });

  it('receives what the server says by itself, again after the connection ended', async () => {
    let connections = 0;
    const it = await bridge(({ method, message, headers }, response) => {
      if (method !== 'GET') return usual({ method, message, headers }, response);
      connections++;
      response.writeHead(200, stream);
      if (connections > 2) return response.flushHeaders();
      return response.end(
        events(
          `id: ${connections}\nretry: 1\ndata: {"jsonrpc":"2.0","method":"n/${connections}","params":{"after":"${headers['last-event-id'] ?? ''}"}}`,
        ),
      );
    });
    await it.begin();
    expect(await it.next()).toMatchObject({ method: 'n/1', params: { after: '' } });
    expect(await it.next()).toMatchObject({ method: 'n/2', params: { after: '1' } });
    await expect.poll(() => connections).toBe(3);
    await it.end();
  });

  it('starts again when the server has forgotten the session, once for several requests', async () => {
    let current = 'session-1';
    let begun = 0;
    const it = await bridge(({ method, message, headers }, response) => {
      if (message?.method === 'initialize') {
        begun++;
        const agreed = { protocolVersion: '2025-06-18', capabilities: {} };
        return json(response, result(message.id, agreed), { 'mcp-session-id': current });
      }
      if (headers['mcp-session-id'] !== current) return json(response, { error: 'gone' }, {}, 404);
      return usual({ method, message, headers }, response);
    });
    await it.begin();
    await it.ask(call(1));
    current = 'session-2';
    it.send(call(2));
    it.send(call(3));
    expect([(await it.next()).id, (await it.next()).id].toSorted()).toEqual([2, 3]);
    expect(begun).toBe(2);
    expect(it.told).toEqual(['The server has ended the session: a new one begins.']);
    await it.end();
    expect(it.asked.at(-1)).toMatchObject({ method: 'DELETE', headers: { 'mcp-session-id': 'session-2' } });
  });

  it('does not continue with a server that has other capabilities now', async () => {
    let version = 1;
    const it = await bridge(({ method, message, headers }, response) => {
      if (message?.method === 'initialize')
        return json(
          response,
          result(message.id, { protocolVersion: '2025-06-18', capabilities: { version } }),
          {
            'mcp-session-id': `session-${version}`,
          },
        );
      if (headers['mcp-session-id'] !== `session-${version}`) return response.writeHead(404).end();
      return usual({ method, message, headers }, response);
    });
    await it.begin();
    await it.ask(call(1));
    version = 2;
    expect(await it.ask(call(2))).toMatchObject({
      id: 2,
      error: { message: expect.stringContaining('another one now') },
    });
    await it.end();
  });

  it('does not report a request that the client cancelled', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method === 'notifications/cancelled') open?.end();
      if (request.message?.method !== 'tools/call') return usual(request, response);
      open = response.writeHead(200, stream);
      return open.flushHeaders();
    });
    let open: import('node:http').ServerResponse | undefined;
    await it.begin();
    it.send(call(8));
    await expect.poll(() => open).toBeDefined();
    it.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 8 } });
    await expect
      .poll(() => it.asked.some(({ message }) => message?.method === 'notifications/cancelled'))
      .toBe(true);
    expect(await it.ask({ jsonrpc: '2.0', id: 9, method: 'ping' })).toEqual(result(9, { was: 'ping' }));
    await it.end();
  });
});

describe('amesh mcp with input that is not a message', () => {
  it.each([
    ['a broken line', '{"jsonrpc":"2.0","id":1\n', -32_700],
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"a"}]\n', -32_600],
    ['a text', '"ping"\n', -32_600],
    ['no version', '{"id":1,"method":"a"}\n', -32_600],
    ['an ID that is null', '{"jsonrpc":"2.0","id":null,"method":"a"}\n', -32_600],
    ['an ID with a fraction', '{"jsonrpc":"2.0","id":1.5,"method":"a"}\n', -32_600],
    ['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":2}\n', -32_600],
    ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}\n', -32_600],
    ['neither', '{"jsonrpc":"2.0","id":1}\n', -32_600],
  ])('answers %s with an error, and sends nothing', async (_what, line, code) => {
    const it = await bridge();
    expect(await it.ask(line)).toMatchObject({ jsonrpc: '2.0', id: null, error: { code } });
    await it.end();
    expect(it.asked).toEqual([]);
  });

  it('refuses a line that is not UTF-8, and accepts empty ones and those with a carriage return', async () => {
    const it = await bridge();
    expect(await it.ask(Buffer.from([0x7b, 0xff, 0x7d, 0x0a]))).toMatchObject({ error: { code: -32_700 } });
    it.send('\n\r\n');
    expect(await it.ask(`${JSON.stringify(initialize)}\r\n`)).toMatchObject({ id: 'begin' });
    await it.end();
  });

  it('skips a line that is too long, without keeping it in memory', async () => {
    const it = await bridge();
    const chunk = 'x'.repeat(1_048_576);
    it.send('{"jsonrpc":"2.0","id":1,"method":"');
    for (let i = 0; i < 17; i++) it.send(chunk);
    expect(await it.ask('"}\n')).toMatchObject({
      id: null,
      error: { code: -32_700, message: expect.stringContaining('16777216 bytes') },
    });
    expect(await it.ask(initialize)).toMatchObject({ id: 'begin' });
    await it.end();
  });

  it('tells clients of later revisions to go back to initialize', async () => {
    const it = await bridge();
    expect(await it.ask({ jsonrpc: '2.0', id: 1, method: 'server/discover' })).toMatchObject({
      id: 1,
      error: { code: -32_601 },
    });
    await it.end();
    expect(it.asked).toEqual([]);
  });

  it('refuses an ID that is still open, and more than 100 requests at once', async () => {
    const open: import('node:http').ServerResponse[] = [];
    const it = await bridge((request, response) => {
      if (request.message?.method === 'initialize') return usual(request, response);
      return open.push(response.writeHead(200, stream));
    });
    await it.ask(initialize);
    for (let id = 0; id < 100; id++) it.send(call(id));
    await expect.poll(() => open.length).toBe(100);
    expect(await it.ask(call(0))).toMatchObject({ id: 0, error: { code: -32_600 } });
    expect(await it.ask(call(100))).toMatchObject({
      id: 100,
      error: { message: expect.stringContaining('More than 100') },
    });
    it.controller.abort();
    await it.running;
  });

  it.each([
    [
      'another version',
      (id: unknown) => result(id, { protocolVersion: '2026-07-28', capabilities: {} }),
      {},
      'a revision of MCP',
    ],
    ['no version', (id: unknown) => result(id), {}, 'a revision of MCP'],
    [
      'a session ID with a space',
      (id: unknown) => result(id, { protocolVersion: '2025-06-18' }),
      { 'mcp-session-id': 'a b' },
      'Mcp-Session-Id',
    ],
    [
      'an error about nothing',
      () => ({ jsonrpc: '2.0', id: null, error: { code: -1, message: 'no' } }),
      {},
      'something other than a response',
    ],
    [
      'a response to something else',
      () => result('other', { protocolVersion: '2025-06-18' }),
      {},
      'something other than a response',
    ],
    ['a web page', () => '<html>', { 'content-type': 'text/html' }, 'is this the URL of an MCP server?'],
    [
      'a message that is too long',
      (id: unknown) => result(id, { text: 'x'.repeat(16_777_216) }),
      {},
      'more than 16777216',
    ],
  ])('refuses a server that begins with %s', async (_what, body, headers, message) => {
    const it = await bridge((request, response) => json(response, body(request.message?.id), headers));
    expect(await it.ask(initialize)).toMatchObject({
      id: 'begin',
      error: { code: -32_000, message: expect.stringContaining(message) },
    });
    await it.end();
  });

  it('refuses an event that is too long, and one that is not a message', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method !== 'tools/call') return usual(request, response);
      response.writeHead(200, stream);
      return response.end(
        request.message.id === 1 ? `data: ${'x'.repeat(17_000_000)}\n\n` : 'data: hello\n\n',
      );
    });
    await it.ask(initialize);
    expect(await it.ask(call(1))).toMatchObject({
      id: 1,
      error: { message: expect.stringContaining('more than 16777216 characters') },
    });
    expect(await it.ask(call(2))).toMatchObject({
      id: 2,
      error: { message: expect.stringContaining('something other than a message') },
    });
    await it.end();
  });
});

describe('amesh mcp and refusals', () => {
  it('gives cause and fix of a refusal to the client, with the code', async () => {
    const it = await bridge(usual, { scopes: [] });
    expect(await it.ask(initialize)).toMatchObject({
      id: 'begin',
      error: {
        code: -32_000,
        message: expect.stringContaining('amesh allow'),
        data: { code: 'scope_missing', status: 403 },
      },
    });
    it.caller.allow('mcp');
    it.caller.revoke();
    const refused = await it.ask(initialize);
    expect(refused.error).toMatchObject({ data: { code: 'unauthorized', status: 401 } });
    expect(refused.error?.message).toContain('amesh list shows whether this device is a controller there');
    it.caller.restore();
    expect(await it.ask(initialize)).toMatchObject({ id: 'begin', result: {} });
    await it.end();
  });

  it('repeats what a server says about its own errors, on one line and shortened', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method !== 'tools/call') return usual(request, response);
      const error = { code: -1, message: `No \u001b[31m such\nthing${'!'.repeat(1000)}` };
      return json(response, { jsonrpc: '2.0', id: null, error }, {}, 400);
    });
    await it.begin();
    const { error } = await it.ask(call(1));
    expect(error?.message).toMatch(/^The server responded with 400: No \\u\{1b\}\[31m such\\u\{a\}thing!+$/);
    expect(error?.message.length).toBeLessThan(360);
    await it.end();
  });

  it('reports the failure of a notification of the client only in the log', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method === 'notifications/x') return response.writeHead(500).end('broken');
      return usual(request, response);
    });
    await it.begin();
    it.send({ jsonrpc: '2.0', method: 'notifications/x' });
    await expect.poll(() => it.told).toEqual(['The server responded with 500: broken']);
    expect(await it.ask(call(1))).toMatchObject({ id: 1, result: {} });
    await it.end();
  });

  it('proves responses over plain http, and lets through the body of a stream', async () => {
    const it = await bridge(
      (request, response) => {
        if (request.message?.method !== 'tools/call') return usual(request, response);
        response.writeHead(200, stream);
        response.write(events('data: {"jsonrpc":"2.0","method":"notifications/message"}'));
        return setImmediate(() => response.end(events(`data: ${JSON.stringify(result(1))}`)));
      },
      { url: 'http://localhost' },
    );
    await it.begin();
    expect(await it.ask(call(1))).toMatchObject({ method: 'notifications/message' });
    expect(await it.next()).toEqual(result(1));
    expect(it.asked.every(({ headers }) => headers['accept-signature'] !== undefined)).toBe(true);
    await it.end();
  });

  it('follows no redirect, since another server could respond to it', async () => {
    const it = await bridge((request, response) => {
      const isMoved = request.method === 'GET' || request.message?.method === 'tools/call';
      if (!isMoved) return usual(request, response);
      return response
        .writeHead(307, { location: request.method === 'GET' ? '/other' : 'https://evil.test/' })
        .end();
    });
    await it.begin();
    expect(await it.ask(call(1))).toMatchObject({ error: { message: 'The server responded with 307.' } });
    await expect.poll(() => it.told).toContain('The server has no stream: it responded with 307.');
    await it.end();
    expect(it.asked.filter(({ method }) => method === 'GET')).toHaveLength(1);
  });

  it('says that the server is not there', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method === 'tools/call') response.destroy();
      else usual(request, response);
    });
    await it.begin();
    expect(await it.ask(call(1))).toMatchObject({
      error: { message: expect.stringContaining('could not be reached') },
    });
    await it.end();
  });
});

describe('the end of amesh mcp', () => {
  it('waits for open requests when the client closes its end', async () => {
    const it = await bridge(async (request, response) => {
      if (request.message?.method === 'tools/call') await new Promise((resolve) => setTimeout(resolve, 50));
      return usual(request, response);
    });
    await it.begin();
    it.send(call(1));
    const [answer] = await Promise.all([it.next(), it.end()]);
    expect(answer).toMatchObject({ id: 1, result: {} });
    expect(it.asked.at(-1)?.method).toBe('DELETE');
  });

  it('waits for nothing when it is told to stop, but still ends the session', async () => {
    const it = await bridge((request, response) => {
      if (request.message?.method === 'tools/call') return undefined;
      return usual(request, response);
    });
    await it.begin();
    it.send(call(1));
    await expect.poll(() => it.asked.some(({ message }) => message?.method === 'tools/call')).toBe(true);
    it.controller.abort();
    await it.running;
    expect(it.asked.at(-1)?.method).toBe('DELETE');
  });

  it('comes when nobody reads any more', async () => {
    const it = await bridge();
    await it.begin();
    it.output.destroy(new Error('EPIPE'));
    await it.running;
    expect(it.asked.at(-1)?.method).toBe('DELETE');
  });

  it('lets a server keep its session', async () => {
    const it = await bridge((request, response) =>
      request.method === 'DELETE' ? response.writeHead(405).end() : usual(request, response),
    );
    await it.begin();
    await it.end();
    expect(it.told).toEqual([]);
  });

  it('waits while nobody reads the output', async () => {
    let written = 0;
    const big = 'x'.repeat(100_000);
    const it = await bridge((request, response) => {
      if (request.message?.method !== 'tools/call') return usual(request, response);
      response.writeHead(200, stream);
      const more = () => {
        for (; written < 200; written++)
          if (!response.write(events(`data: {"jsonrpc":"2.0","method":"n","params":"${big}"}`))) {
            written++;
            return response.once('drain', more);
          }
        return response.end(events(`data: ${JSON.stringify(result(1))}`));
      };
      return more();
    });
    await it.begin();
    it.output.pause();
    it.send(call(1));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(100);
    it.output.resume();
    for (let i = 0; i < 200; i++) await it.next();
    expect(await it.next()).toEqual(result(1));
    await it.end();
  });
});
