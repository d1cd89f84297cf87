// The servers that bench/servers.mjs measures: the same app in four frameworks, behind each kind of protection.
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { createServer } from 'node:http';
import { createAmesh } from '@authmesh/sdk';
import { authMesh } from '@authmesh/sdk/fastify';
import { verify as honoVerify } from '@authmesh/sdk/hono';

/** As long as a signature base of the requests. */
const MESSAGE = Buffer.alloc(420, 0x61);
const DONE = { ok: true, text: 'a'.repeat(20) };

/**
 * Starts one server on a free port of 127.0.0.1.
 *
 * @param given the name of the framework, the protection, the folder of the server, and a key for bare signatures
 * @returns the port
 */
export async function startApp({ framework, protection, dir, jwk, publicKey }) {
  const listen = FRAMEWORKS[framework];
  if (protection === 'none') return listen({});
  if (protection === 'amesh') return listen({ amesh: createAmesh({ dir }) });
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  const bareKey = createPublicKey(privateKey);
  const signature = sign('sha256', MESSAGE, privateKey);
  const bare = () => {
    if (!verify('sha256', MESSAGE, bareKey, signature)) throw new Error('The bare verify failed.');
  };
  if (protection === 'ideal') return listen({ before: bare });
  if (protection === 'ideal + sign')
    return listen({ before: bare, after: () => sign('sha256', MESSAGE, privateKey) });
  const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), format: 'der', type: 'spki' });
  return listen({ byHand: handMade(key) });
}

/**
 * What a careful person writes in an afternoon: it reads the header, checks time, nonce, signature and digest. It returns what
 * is wrong, or null.
 */
function handMade(key) {
  const nonces = new Map();
  return ({ method, url, headers }, body) => {
    const [, id, ts, nonce, sig] =
      /^AuthMesh v="2",id="([^"]+)",ts="(\d+)",nonce="([^"]+)",sig="([^"]+)"$/.exec(
        headers.authorization ?? '',
      ) ?? [];
    if (sig === undefined || Math.abs(Date.now() / 1000 - Number(ts)) > 30) return 'late';
    if (nonces.has(nonce)) return 'replay';
    const names = ['content-digest', 'content-type', 'authmesh-target', 'accept-signature'].filter(
      (name) => headers[name] !== undefined,
    );
    const mark = url.indexOf('?');
    const [path, query] = mark === -1 ? [url, '?'] : [url.slice(0, mark), url.slice(mark)];
    const covered = ['@method', '@authority', '@path', '@query', ...names]
      .map((name) => `"${name}"`)
      .join(' ');
    const base = `"@method": ${method}\n"@authority": ${headers.host}\n"@path": ${path}\n"@query": ${query}\n${names
      .map((name) => `"${name}": ${headers[name]}\n`)
      .join('')}"@signature-params": (${covered});created=${ts};nonce="${nonce}";keyid="${id}";tag="amesh"`;
    const signature = { key, dsaEncoding: 'ieee-p1363' };
    if (!verify('sha256', Buffer.from(base), signature, Buffer.from(sig, 'base64url'))) return 'signature';
    nonces.set(nonce, ts);
    const digest = createHash('sha256').update(body).digest('base64');
    return headers['content-digest'] === `sha-256=:${digest}:` ? null : 'digest';
  };
}

/** Reads the body of a request, and puts it back. */
function readBytes(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    request.on('readable', function take() {
      for (let chunk = request.read(); chunk !== null; chunk = request.read()) chunks.push(chunk);
      if (!request._readableState.ended && !request.complete) return;
      request.off('readable', take);
      const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
      request.unshift(bytes);
      resolve(bytes);
    });
    request.on('error', reject);
  });
}

const FRAMEWORKS = {
  'node:http': bareHttp,
  'Express 5': express,
  'Fastify 5': fastify,
  'Hono on Node': hono,
};
export const FRAMEWORK_NAMES = Object.keys(FRAMEWORKS);

function bareHttp({ amesh, before, after, byHand }) {
  const protect = amesh?.verify();
  const handle = (request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      if (chunks.length > 0) JSON.parse(Buffer.concat(chunks).toString());
      after?.();
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(DONE));
    });
  };
  const server = createServer((request, response) => {
    if (protect !== undefined) return protect(request, response, () => handle(request, response));
    before?.();
    if (byHand === undefined) return handle(request, response);
    return readBytes(request).then((bytes) => {
      if (byHand(request, bytes) === null) handle(request, response);
      else response.writeHead(401).end();
    });
  });
  return portOf(patient(server.listen(0, '127.0.0.1')));
}

async function express({ amesh, before, after, byHand }) {
  const { default: create, json } = await import('express');
  const app = create();
  if (amesh !== undefined) app.use(amesh.verify());
  if (before !== undefined)
    app.use((_request, _response, next) => {
      before();
      next();
    });
  if (byHand !== undefined)
    app.use(async (request, response, next) => {
      if (byHand(request, await readBytes(request)) === null) next();
      else response.sendStatus(401);
    });
  app.use(json());
  app.post('/orders', (_request, response) => {
    after?.();
    response.json(DONE);
  });
  return portOf(patient(app.listen(0, '127.0.0.1')));
}

async function fastify({ amesh, before, after, byHand }) {
  const { fastify: create } = await import('fastify');
  const app = create();
  if (amesh !== undefined) await app.register(authMesh, { amesh });
  if (before !== undefined) app.addHook('onRequest', async () => before());
  if (byHand !== undefined)
    app.addHook('onRequest', async ({ raw }, reply) => {
      if (byHand(raw, await readBytes(raw)) !== null) return reply.code(401).send();
    });
  app.post('/orders', async () => {
    after?.();
    return DONE;
  });
  await app.listen({ port: 0, host: '127.0.0.1' });
  patient(app.server);
  return app.server.address().port;
}

async function hono({ amesh, before, after, byHand }) {
  const { Hono } = await import('hono');
  const { serve } = await import('@hono/node-server');
  const app = new Hono();
  if (amesh !== undefined) app.use(honoVerify({ amesh }));
  if (before !== undefined)
    app.use(async (_c, next) => {
      before();
      await next();
    });
  if (byHand !== undefined)
    app.use(async (c, next) => {
      const { incoming } = c.env;
      if (byHand(incoming, new Uint8Array(await c.req.arrayBuffer())) !== null) return c.text('', 401);
      await next();
    });
  app.post('/orders', async (c) => {
    await c.req.json();
    after?.();
    return c.json(DONE);
  });
  return new Promise((resolve) => {
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port));
    patient(server);
  });
}

/** The connections have to stay open while the other servers are measured. */
function patient(server) {
  server.keepAliveTimeout = 0;
  return server;
}

function portOf(server) {
  return new Promise((resolve) => server.once('listening', () => resolve(server.address().port)));
}
