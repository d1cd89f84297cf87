import { createServer } from 'node:http';
import type { Amesh } from '@authmesh/sdk';
import { hasScope } from '@authmesh/sdk';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify } from '@authmesh/sdk/hono';
import type { TestApp } from '@authmesh/sdk/testing';
import { withAmesh } from '@authmesh/sdk/workers';
import express5 from 'express';
import express4 from 'express4';
import { fastify as fastify5 } from 'fastify';
import { fastify as fastify4 } from 'fastify4';
import { Hono } from 'hono';

/** One API in each framework: GET /orders says who calls, POST /orders gives back the body, /admin needs a scope. */
export const apps: Readonly<Record<string, (amesh: Amesh) => Promise<TestApp>>> = {
  'Express 5': async (amesh) => expressApp(amesh, express5),
  'Express 4': async (amesh) => expressApp(amesh, express4 as unknown as typeof express5),
  'Fastify 5': async (amesh) => fastifyApp(amesh, fastify5),
  'Fastify 4': async (amesh) => fastifyApp(amesh, fastify4 as unknown as typeof fastify5),
  Hono: async (amesh) => {
    const app = new Hono();
    app.use(verify({ amesh }));
    app.get('/orders', (c) => c.json({ from: c.get('authMesh').friendlyName }));
    app.post('/orders', async (c) => c.json({ got: await c.req.json() }, 201));
    app.get('/admin', verify({ amesh, require: 'admin' }), (c) => c.json({ ok: true }));
    return app;
  },
  'a fetch handler': async (amesh) => {
    const admin = withAmesh(() => Response.json({ ok: true }), { amesh, require: 'admin' });
    const orders = withAmesh(
      async (request) =>
        request.method === 'POST'
          ? Response.json({ got: await request.json() }, { status: 201 })
          : Response.json({ from: request.authMesh.friendlyName }),
      { amesh },
    );
    return (request: Request) => (new URL(request.url).pathname === '/admin' ? admin : orders)(request);
  },
  'node:http': async (amesh) => {
    const verifyCaller = amesh.verify();
    return createServer((req, res) =>
      verifyCaller(req, res, async () => {
        const { authMesh } = req as unknown as { authMesh: { friendlyName: string } };
        if (req.url === '/admin' && !hasScope({ authMesh } as never, 'admin')) {
          res.writeHead(403, { 'content-type': 'application/json' });
          res.end('{"error":"scope_missing","scope":"admin"}');
          return;
        }
        if (req.method === 'POST') {
          const chunks: Buffer[] = [];
          for await (const chunk of req) chunks.push(chunk);
          res.writeHead(201).end(JSON.stringify({ got: JSON.parse(Buffer.concat(chunks).toString()) }));
          return;
        }
        res.end(JSON.stringify(req.url === '/admin' ? { ok: true } : { from: authMesh.friendlyName }));
      }),
    );
  },
};

function expressApp(amesh: Amesh, express: typeof express5): TestApp {
  const app = express();
  app.use(amesh.verify(), express.json());
  app.get('/orders', (req, res) => {
    res.json({ from: req.authMesh.friendlyName });
  });
  app.post('/orders', (req, res) => {
    res.status(201).json({ got: req.body });
  });
  app.get('/admin', amesh.verify({ require: 'admin' }), (_req, res) => {
    res.json({ ok: true });
  });
  return app;
}

async function fastifyApp(amesh: Amesh, fastify: typeof fastify5): Promise<TestApp> {
  const app = fastify();
  await app.register(authMesh, { amesh });
  app.get('/orders', async (request) => ({ from: request.authMesh.friendlyName }));
  app.post('/orders', async (request, reply) => {
    reply.code(201);
    return { got: request.body };
  });
  await app.register(async (scope) => {
    await scope.register(authMesh, { amesh, require: 'admin' });
    scope.get('/admin', async () => ({ ok: true }));
  });
  return app;
}
