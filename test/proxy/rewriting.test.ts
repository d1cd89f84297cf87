import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Refusal } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const HOST = 'api.example.com';
const find = (name: string) => [`/usr/sbin/${name}`, `/usr/bin/${name}`].find((path) => existsSync(path));
const [NGINX, HAPROXY] = [find('nginx'), find('haproxy')];
for (const [name, path] of Object.entries({ nginx: NGINX, haproxy: HAPROXY }))
  if (path === undefined) console.warn(`Tests with rewriting ${name} are skipped: there is no ${name}.`);

let machines: Machines;
let server: Listening;
let front: Listening;
let folder: string;
const endings: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  machines = await createMachines();
  const verify = machines.targetWith({ hosts: [HOST] }).verify();
  server = await listen((req, res) => void verify(req, res, () => void res.end()));
  front = await listen(() => {});
  folder = await mkdtemp(join(tmpdir(), 'amesh-rewriting-'));
});
beforeEach(() => void machines.refusals.splice(0));
afterAll(async () => {
  for (const end of endings) await end();
  await Promise.all([server?.close(), front?.close(), machines?.remove()]);
  await rm(folder, { recursive: true, maxRetries: 20 });
});

/** Starts a proxy of that name, and waits for its port. */
async function start(path: string, config: (port: number) => string, args: (file: string) => string[]) {
  const port = await freePort();
  const file = join(folder, `${port}.conf`);
  await writeFile(file, config(port));
  const child = spawn(path, args(file), { stdio: 'ignore' });
  const ended = once(child, 'close');
  endings.push(() => {
    child.kill('SIGTERM');
    return ended;
  });
  for (const endsAt = Date.now() + 20_000; ; await sleep(20)) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return port;
    if (Date.now() > endsAt) throw new Error(`${path} did not start in 20 s.`);
  }
}

/** Sends a signed request through a proxy, and gives what the server's log is told. */
async function refused(port: number, target: string): Promise<Refusal> {
  const signed = await signedRaw(machines.signer, HOST, { target });
  const client = await RawClient.connect(port);
  client.write(`${[signed.line, ...signed.headers].join('\r\n')}\r\n\r\n`);
  const { status, body } = await client.response();
  client.destroy();
  expect([status, body]).toEqual([401, '{"error":"unauthorized"}']);
  return machines.refusals[0] as Refusal;
}

describe.skipIf(NGINX === undefined && !process.env.CI)('nginx whose proxy_pass has a path', () => {
  let port: number;
  beforeAll(async () => {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${folder}/${name};`)
      .join(' ');
    const site = (path: string) =>
      `location ${path} { proxy_pass http://127.0.0.1:${server.port}/; proxy_set_header Host $http_host; }`;
    port = await start(
      NGINX as string,
      (own) =>
        `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1; events {}
${process.getuid?.() === 0 ? 'user root;' : ''}
http { access_log off; ${temporary} server { listen 127.0.0.1:${own}; ${site('/')} ${site('/v1/')} } }`,
      (file) => ['-p', folder, '-c', file],
    );
  });

  it.each([
    ['/a%2Fb', 'path /a%2Fb', 'proxy_pass without a path'],
    ['/a%5Bb%5D', 'path /a%5Bb%5D', 'proxy_pass without a path'],
    ['//a//b', 'path //a//b', 'merge_slashes off'],
    ['/v1/orders', 'path /v1/orders', "verify({ pathPrefix: '/v1' })"],
  ])('%s', async (target, message, fix) => {
    const found = await refused(port, target);
    expect(found.detail).toBe(`The signature is valid for the ${message}.`);
    expect(found.fix).toContain(fix);
  });
});

describe.skipIf(HAPROXY === undefined && !process.env.CI)('HAProxy that normalises URIs', () => {
  let port: number;
  beforeAll(async () => {
    port = await start(
      HAPROXY as string,
      (own) => `global
  expose-experimental-directives
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen all
  bind 127.0.0.1:${own}
  http-request normalize-uri path-merge-slashes
  http-request normalize-uri percent-to-uppercase
  http-request normalize-uri query-sort-by-name
  server s 127.0.0.1:${server.port}
`,
      (file) => ['-f', file, '-db'],
    );
  });

  it.each([
    ['/a%2fb', 'path /a%2fb', 're-encodes'],
    ['/a//b', 'path /a//b', 'merged two slashes'],
    ['/q?token=SECRET&b=1', 'another spelling of the query', 'drops, sorts or escapes queries'],
  ])('%s', async (target, message, fix) => {
    const found = await refused(port, target);
    expect(found.detail).toContain(message);
    expect(found.fix).toContain(fix);
    expect(`${found.detail} ${found.fix}`).not.toContain('SECRET');
  });
});

describe('a proxy that reports its changes', () => {
  let own: Listening; // with a verifier of its own: explanations are limited
  beforeAll(async () => {
    const verify = machines.targetWith({ hosts: [HOST] }).verify();
    own = await listen((req, res) => void verify(req, res, () => void res.end()));
    endings.push(() => own.close());
  });

  /** What comes behind a proxy that was given `target`. */
  async function behind(target: string, seen: string, headers: string[], method = 'GET', as = method) {
    const signed = await signedRaw(machines.signer, HOST, { target, method });
    const client = await RawClient.connect(own.port);
    const [, ...others] = signed.headers;
    const lines = [`${as} ${seen} HTTP/1.1`, `Host: ${HOST}`, ...others, ...headers];
    client.write(`${lines.join('\r\n')}\r\n\r\n`);
    expect((await client.response()).status).toBe(401);
    client.destroy();
    return machines.refusals.at(-1) as Refusal;
  }

  it.each([
    ['X-Forwarded-Prefix: /shop/eu/'],
    ['X-Original-URI: /shop/eu/orders?x=1'],
    ['X-Forwarded-Uri: /shop/eu/orders'],
  ])('a path that was cut off: %s', async (line) => {
    const found = await behind('/shop/eu/orders', '/orders', [line]);
    expect(found.fix).toContain("verify({ pathPrefix: '/shop/eu' })");
  });

  it('a prefix that was added, a slash at the end, a query that was added, HEAD turned into GET', async () => {
    const fixes = [
      [await behind('/orders', '/internal/orders', []), 'added the prefix /internal'],
      [await behind('/orders/', '/orders', []), 'the trailing slash'],
      [await behind('/orders', '/orders?utm=1', []), 'drops, sorts or escapes queries'],
      [await behind('/orders', '/orders', [], 'HEAD', 'GET'), 'proxy_cache_convert_head off'],
    ] as const;
    for (const [found, fix] of fixes) expect(found.fix).toContain(fix);
  });

  it('says nothing new about a signature that does not fit any of it', async () => {
    const found = await behind('/orders', '/elsewhere', []);
    expect(found.detail).toBe('The signature does not match the request as this server saw it.');
    expect(found.fix).toContain(
      'The usual cause is a proxy that rewrites host, path, query or a covered field',
    );
  });
});
