// An application that names its scopes. Nothing here runs: a misspelt scope must not compile, whatever the entry.
import type { IncomingMessage } from 'node:http';
import { type Authenticated, amesh, hasScope, type Scope } from '@authmesh/sdk';
import { createVerifier, hasScope as hasScopeCore } from '@authmesh/sdk/core';
import { hasScope as hasScopeExpress, verify as verifyExpress } from '@authmesh/sdk/express';
import { authMesh, hasScope as hasScopeFastify, verify as verifyFastify } from '@authmesh/sdk/fastify';
import { hasScope as hasScopeHono, verify as verifyHono } from '@authmesh/sdk/hono';
import { createServerVerifier, hasScope as hasScopeWorkers, withAmesh } from '@authmesh/sdk/workers';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';

declare module '@authmesh/sdk' {
  interface AmeshScopes {
    'orders:read': true;
    'orders:write': true;
  }
}

// Another module of the application adds its own
declare module '@authmesh/sdk' {
  interface AmeshScopes {
    'reports:read': true;
  }
}

const all: Scope[] = ['orders:read', 'orders:write', 'reports:read'];
const required = ['orders:read', 'reports:read'] as const;

const app = express();
app.get('/orders', amesh.verify({ require: 'orders:read' }), (req, res) => {
  const patterns: readonly string[] = req.authMesh.scopes;
  res.json({ mayWrite: hasScope(req, 'orders:write'), same: hasScopeExpress(req, 'orders:write'), patterns });
});
app.use(verifyExpress({ require: required }));
amesh.verifier({ require: all });

const server = fastify();
await server.register(authMesh, { require: ['orders:read', 'orders:write'] });
server.get('/', { onRequest: verifyFastify({ require: 'reports:read' }) }, async (request) =>
  hasScopeFastify(request, 'orders:write'),
);

const hono = new Hono().use(verifyHono({ require: 'orders:read' }));
hono.use(verifyHono(() => ({ require: 'orders:read' })));
hono.get('/', (c) => c.json([hasScopeHono(c, 'orders:write'), hasScope(c, 'orders:write')]));

withAmesh((request) => Response.json(hasScopeWorkers(request, 'orders:write')), { require: 'orders:read' });
createServerVerifier({ require: 'orders:read' });

const { verify } = createVerifier({ allowList: {}, require: 'orders:read' });
const verdict = await verify(new Request('http://localhost'));
if (verdict.ok) hasScopeCore({ authMesh: verdict.caller }, 'orders:write');
hasScope({} as Authenticated<IncomingMessage>, 'orders:write');

// What must not compile
// @ts-expect-error a misspelt scope
amesh.verify({ require: 'oders:read' });
// @ts-expect-error a misspelt scope in a list
amesh.verify({ require: ['orders:read', 'oders:write'] });
// @ts-expect-error a wildcard
amesh.verify({ require: 'orders:*' });
// @ts-expect-error a misspelt scope
amesh.verifier({ require: 'oders:read' });
// @ts-expect-error a misspelt scope
createVerifier({ allowList: {}, require: 'oders:read' });
// @ts-expect-error a misspelt scope
verifyExpress({ require: 'oders:read' });
// @ts-expect-error a misspelt scope
verifyFastify({ require: 'oders:read' });
// @ts-expect-error a misspelt scope
server.register(authMesh, { require: 'oders:read' });
// @ts-expect-error a misspelt scope
verifyHono({ require: 'oders:read' });
// @ts-expect-error a misspelt scope
verifyHono(() => ({ require: 'oders:read' }));
// @ts-expect-error a misspelt scope
withAmesh(() => new Response(), { require: 'oders:read' });
// @ts-expect-error a misspelt scope
createServerVerifier({ require: 'oders:read' });
hono.get('/', (c) => {
  // @ts-expect-error a misspelt scope
  hasScopeHono(c, 'oders:write');
  // @ts-expect-error a misspelt scope
  return c.json(hasScope(c, 'oders:write'));
});
app.get('/', (req, res) => {
  // @ts-expect-error a misspelt scope
  res.json(hasScope(req, 'oders:write'));
  // @ts-expect-error what was verified does not change
  req.authMesh.scopes.push('orders:write');
});
// @ts-expect-error a request that no type says is verified
hasScope({} as IncomingMessage, 'orders:write');
