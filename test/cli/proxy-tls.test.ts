import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Backend, linesOf, type Proxied, type RunningProxy, type Seen, useProxied } from '../support/proxied';

const createProxied = useProxied();
/** Over the limit of memory, so that it waits in a file on both sides. */
const LARGE = randomBytes(1_500_000).toString('hex');

let proxied: Proxied;
let backend: Backend;
/** `amesh proxy --protect` with TLS, whose certificate no system trusts. */
let inward: RunningProxy;
let origin: string;
let ca: Record<string, string>;
let delegation: string;
let certificate: { readonly cert: Buffer; readonly key: Buffer };
const started: RunningProxy[] = [];

async function to(target: string, args: readonly string[], env: Record<string, string>) {
  const proxy = await proxied.to(target, args, { env });
  started.push(proxy);
  return proxy;
}

beforeAll(async () => {
  proxied = await createProxied();
  backend = await new Backend((request, response) => {
    const seen = backend.note(request);
    request.on('data', (chunk) => {
      seen.body += chunk;
    });
    request.on('end', () => {
      const text = JSON.stringify({ ...seen, body: seen.body.length > 100 ? seen.body.length : seen.body });
      if (request.url === '/none') response.writeHead(204).end();
      else if (request.url === '/large') response.end(LARGE);
      else if (request.url === '/chunked') {
        response.write(text.slice(0, 5));
        response.end(text.slice(5));
      } else response.setHeader('content-length', text.length).end(text);
    });
  }).listen();
  const { args } = await proxied.certificate();
  inward = await proxied.protect(backend.origin, [...args, '--require', 'orders:read']);
  origin = `https://localhost:${inward.port}`;
  await proxied.know(`localhost:${inward.port}`);
  await proxied.target.amesh(['allow', proxied.callerId, 'orders:read']);
  certificate = { cert: await readFile(args[1] as string), key: await readFile(args[3] as string) };
  ca = { NODE_EXTRA_CA_CERTS: args[1] as string };
  const lent = ['delegate', '--name', 'report-agent', '--scope', 'orders:read', '--target', 'orders-api'];
  delegation = (await proxied.caller.amesh(lent)).stdout.trim();
}, 180_000);

afterAll(async () => {
  expect(await Promise.all([inward, ...started].map((proxy) => proxy?.end()))).toEqual(
    [inward, ...started].map(() => 0),
  );
  backend?.close();
});

describe('amesh proxy --to https, with a private certificate authority', { timeout: 60_000 }, () => {
  it('reaches amesh proxy --protect over TLS, and requires proven answers from it', async () => {
    const front = await to(origin, ['--answers', 'required'], ca);
    const body = JSON.stringify({ amount: 100 });
    const answer = await fetch(`${front.origin}/orders?b=2`, { method: 'POST', body });
    const seen = (await answer.json()) as Seen;
    expect(seen).toMatchObject({ method: 'POST', target: '/orders?b=2', body });
    expect(linesOf(seen, 'authmesh-caller-name')).toEqual(['laptop']);
    expect(linesOf(seen, 'x-forwarded-proto')).toEqual(['https']);
    expect(linesOf(seen, 'host')).toEqual([`localhost:${inward.port}`]);

    const large = await fetch(`${front.origin}/orders`, { method: 'PUT', body: LARGE });
    expect(await large.json()).toMatchObject({ method: 'PUT', body: LARGE.length });
    const chunked = await fetch(`${front.origin}/chunked`);
    expect(await chunked.json()).toMatchObject({ target: '/chunked' });
    const none = await fetch(`${front.origin}/none`, { method: 'DELETE' });
    expect([none.status, await none.text()]).toEqual([204, '']);
    const head = await fetch(`${front.origin}/orders`, { method: 'HEAD' });
    expect([head.status, Number(head.headers.get('content-length')) > 0]).toEqual([200, true]);
    // Only the head of so large an answer is signed, and `required` wants more.
    const unproven = await fetch(`${front.origin}/large`).then((response) => response.text(), String);
    expect(unproven).toMatch(/answer_unproven|TypeError/);
    expect(await front.end()).toBe(0);
    expect(front.events('refused')).toMatchObject([{ code: 'answer_unproven' }]);
  });

  it('accepts an answer of any size over https, unless it has to be proven', async () => {
    const front = await to(origin, [], ca);
    expect(await (await fetch(`${front.origin}/large`)).text()).toBe(LARGE);
    const answer = await fetch(`${front.origin}/orders`, { method: 'POST', body: '{}' });
    expect(await answer.json()).toMatchObject({ body: '{}' });
  });

  it('is 502 without that authority, and nothing of the request arrives', async () => {
    const front = await to(origin, [], {});
    const before = backend.seen.length;
    const answer = await fetch(`${front.origin}/orders`, { method: 'POST', body: '{}' });
    expect([answer.status, await answer.text()]).toEqual([502, '{"error":"server_unreachable"}']);
    expect(await front.end()).toBe(0);
    expect(front.events('refused')).toMatchObject([
      { message: expect.stringMatching(/cannot be reached: (?:DEPTH_ZERO_)?SELF_SIGNED/) },
    ]);
    expect(backend.seen).toHaveLength(before);
  });

  it('reaches a server that uses the SDK', async () => {
    const verify = createAmesh({ dir: proxied.target.dir, env: {} }).verify();
    const server = createServer(certificate, (request, response) =>
      verify(request as never, response as never, () => response.end(`in ${request.url}`)),
    );
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    await proxied.know(`localhost:${port}`);
    const front = await to(`https://localhost:${port}`, ['--answers', 'required'], ca);
    for (const path of ['/a', '/b'])
      expect(await (await fetch(front.origin + path)).text()).toBe(`in ${path}`);
    server.closeAllConnections();
    server.close();
  });
});

describe('a delegate', { timeout: 60_000 }, () => {
  it('calls through both proxies, and the server behind them knows its name', async () => {
    const env = { ...ca, AUTH_MESH_DIR: '', AMESH_DELEGATION: delegation };
    for (const answers of ['auto', 'required']) {
      const front = await to(origin, ['--answers', answers], env);
      const seen = (await (
        await fetch(`${front.origin}/orders`, { method: 'POST', body: '{}' })
      ).json()) as Seen;
      expect(linesOf(seen, 'authmesh-caller-delegate')).toEqual(['report-agent']);
      expect(linesOf(seen, 'authmesh-caller-name')).toEqual(['laptop']);
      expect(linesOf(seen, 'authmesh-caller-first-id')).toEqual([proxied.callerId]);
      expect(linesOf(seen, 'authmesh-caller-scopes')).toEqual(['orders:read']);
      expect(seen.lines.join('\n')).not.toMatch(/delegation|signature/i);
    }
  });

  it('is refused by a proxy that requires no scope, or another scope', async () => {
    const amesh = createAmesh({ env: { AMESH_DELEGATION: delegation } });
    const open = await proxied.protect(backend.origin);
    const other = await proxied.protect(backend.origin, ['--require', 'orders:write']);
    started.push(open, other);
    const before = backend.seen.length;
    const [none, wrong] = await Promise.all(
      [open, other].map(async (proxy) => {
        const answer = await amesh.fetch(`${proxy.origin}/orders`);
        return [answer.status, ((await answer.json()) as { error: string }).error];
      }),
    );
    expect([none, wrong]).toEqual([
      [403, 'delegate_not_allowed'],
      [403, 'scope_missing'],
    ]);
    expect(backend.seen).toHaveLength(before);
  });
});
