import { createServer, type Server } from 'node:http';
import { signRequest } from '@authmesh/sdk/core';
import { verify as verifyHono } from '@authmesh/sdk/hono';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import express4 from 'express4';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';
import { usePair } from '../support/use-pair';

/**
 * Node puts the first thousand lines of a request into `headers`, some more of them into `rawHeaders`, and its parser goes
 * by all of them. What stands behind a thousand lines of padding is seen by the one and not by the other. Express shows the
 * first to its handlers, Hono the second.
 */

const machines = usePair();

/** What newer Nodes answer by themselves; older ones hide what is too much. */
const TOO_MANY = 431;

const PADDING = Array.from({ length: 1000 }, () => 'a: b');
/** Behind so many, Node puts a line into neither of them. */
const DEEP = Array.from({ length: 1900 }, () => 'a:b');
const BODY = '{"amount":1000000,"to":"mallory"}';

const servers = {
  'Express 5': () => {
    const app = express();
    app.use(machines.target.verify());
    app.post(
      '/transfer',
      async (req, res) => void res.json({ type: req.get('content-type') ?? null, got: await textOf(req) }),
    );
    return app;
  },
  'Express 4': () => {
    const app = express4();
    app.use(machines.target.verify() as never);
    app.post(
      '/transfer',
      async (req, res) => void res.json({ type: req.get('content-type') ?? null, got: await textOf(req) }),
    );
    return app;
  },
  'node:http': () => {
    const verify = machines.target.verify();
    return ((req, res) =>
      verify(req, res, async () => {
        res.end(JSON.stringify({ type: req.headers['content-type'] ?? null, got: await textOf(req) }));
      })) as import('node:http').RequestListener;
  },
  Hono: () => {
    const app = new Hono();
    app.use(verifyHono({ amesh: machines.target }));
    app.post('/transfer', async (c) =>
      c.json({ type: c.req.header('content-type') ?? null, got: await c.req.text() }),
    );
    return getRequestListener(app.fetch);
  },
  'Hono after Express': () => {
    const app = express();
    app.use(machines.target.verify());
    const inner = new Hono();
    inner.post('/transfer', async (c) =>
      c.json({
        type: c.req.header('content-type') ?? null,
        got: await new Response(c.req.raw.body).text(),
      }),
    );
    app.use(getRequestListener(inner.fetch));
    return app;
  },
};

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe.each(Object.entries(servers))('behind a thousand header lines, %s', (_, makeServer) => {
  async function send(
    lines: readonly string[],
    body: string,
    change: (lines: string[]) => string[],
    bytes = BODY,
  ) {
    const server = await listen(makeServer() as unknown as Server);
    try {
      const headers = Object.fromEntries(lines.map((line) => line.split(': ') as [string, string]));
      const view = {
        method: 'POST',
        target: '/transfer',
        authority: server.authority,
        headers,
        body: Buffer.from(body),
      };
      const signed = await signRequest(view, machines.signer);
      const all = Object.entries(signed.headers).map(([name, value]) => `${name}: ${value}`);
      return {
        server,
        ...(await exchange(
          server.port,
          head('POST /transfer HTTP/1.1', change([`Host: ${server.authority}`, ...all])),
          bytes,
        )),
      };
    } finally {
      await server.close();
    }
  }

  it.each([
    ['Content-Length', `Content-Length: ${BODY.length}`, BODY],
    [
      'Transfer-Encoding',
      'Transfer-Encoding: chunked',
      `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`,
    ],
  ])('a hidden %s does not add an unsigned body', async (_name, line, bytes) => {
    for (const padding of [PADDING, DEEP]) {
      const { status } = await send([], '', (lines) => [...lines, ...padding, line], bytes);
      if (status === TOO_MANY) return;
      expect(status).toBe(401);
      expect(machines.refusals.at(-1)?.code).toBe('content_digest_missing');
    }
  });

  it('a hidden Content-Length does not remove a signed body', async () => {
    const { status } = await send([], BODY, (lines) => [...lines, ...DEEP, `Content-Length: ${BODY.length}`]);
    if (status === TOO_MANY) return;
    expect(status).toBe(400);
    expect(machines.refusals.at(-1)?.code).toBe('malformed_header');
  });

  it.each(['Content-Type: text/html', 'Content-Encoding: gzip', 'AuthMesh-Target: am_AAAAAAAAAAAAAAAA'])(
    'a hidden %s that nobody has signed does not appear',
    async (line) => {
      const { status } = await send([], BODY, (lines) => [
        ...lines,
        `Content-Length: ${BODY.length}`,
        ...PADDING,
        line,
      ]);
      if (status === TOO_MANY) return;
      expect(status).toBe(400);
      expect(machines.refusals.at(-1)?.code).toBe('malformed_header');
    },
  );

  it('a signed Content-Type that is pushed out of sight is refused', async () => {
    const type = 'content-type: application/json';
    const { status } = await send([type], BODY, (lines) => [
      ...lines.filter((line) => line !== type),
      `Content-Length: ${BODY.length}`,
      ...PADDING,
      type,
    ]);
    if (status === TOO_MANY) return;
    expect(status).toBe(400);
    expect(machines.refusals.at(-1)?.code).toBe('malformed_header');
  });

  it('padding alone changes nothing', async () => {
    const { status, body } = await send(['content-type: application/json'], BODY, (lines) => [
      ...lines,
      `Content-Length: ${BODY.length}`,
      ...PADDING.slice(0, 900),
    ]);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ type: 'application/json', got: BODY });
  });
});

describe('a server with a maxHeadersCount of its own', () => {
  async function send(maxHeadersCount: number, padding: readonly string[], body: string) {
    const own = createServer(servers['node:http']());
    own.maxHeadersCount = maxHeadersCount;
    const server = await listen(own);
    try {
      const { authority } = server;
      const view = { method: 'POST', target: '/transfer', authority, headers: {}, body: Buffer.from(body) };
      const { headers } = await signRequest(view, machines.signer);
      const signed = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
      const lines = [`Host: ${authority}`, ...signed, ...padding, `Content-Length: ${BODY.length}`];
      return await exchange(server.port, head('POST /transfer HTTP/1.1', lines), BODY);
    } finally {
      await server.close();
    }
  }

  it('lets no length hide after fewer lines', async () => {
    expect((await send(50, PADDING.slice(0, 100), '')).status).toBe(401);
    expect(machines.refusals.at(-1)?.code).toBe('content_digest_missing');
  });

  it('sees all lines if there is no limit', async () => {
    expect((await send(0, DEEP, '')).status).toBe(401);
    const { status, body } = await send(0, DEEP, BODY);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ type: null, got: BODY });
  });
});
