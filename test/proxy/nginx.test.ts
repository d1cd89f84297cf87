import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { signRequest } from '@authmesh/sdk/core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import type { Child } from '../support/child';
import { type Fleet, HOST, startFleet, until } from '../support/fleet';
import { freePort } from '../support/free-port';
import { type RedisServer, startRedis } from '../support/redis';

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));
const hasRedis = existsSync('/usr/bin/redis-server');
if (NGINX === undefined || !hasRedis) {
  console.warn('Tests behind nginx are skipped: there is no nginx, or no redis-server.');
}

const PASSED = '200 passed';

/** The configuration of docs/production.md, and nothing that it does not say but ports and paths. */
function documented(): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/production.md'), 'utf8');
  return /```nginx [^\n]*\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
}

describe.skipIf((NGINX === undefined || !hasRedis) && !process.env.CI)('two instances behind nginx', () => {
  let redis: RedisServer;
  let fleet: Fleet;
  let stop: (() => Promise<void>) | undefined;
  let certificate: { key: string; cert: string };
  beforeAll(() => {
    certificate = createCertificate(HOST);
  });
  afterEach(async () => {
    await stop?.();
    await fleet.stop();
    await redis.stop();
  });

  /**
   * @param change of the documented configuration
   * @param answer to a request that is as it should be
   */
  async function start(
    env: Record<string, string> = {},
    change = (text: string) => text,
    prefix = '',
    answer = PASSED,
  ): Promise<number> {
    redis = await startRedis();
    fleet = await startFleet(2, { REDIS_URL: redis.url, ...env });
    const [a, b] = fleet.servers as [Child, Child];
    const folder = await mkdtemp(join(tmpdir(), 'amesh-nginx-'));
    const port = await freePort();
    await writeFile(join(folder, 'cert.pem'), certificate.cert);
    await writeFile(join(folder, 'key.pem'), certificate.key);
    const site = change(documented())
      .replace('10.0.0.11:3000', `127.0.0.1:${fleet.portOf(a)}`)
      .replace('10.0.0.12:3000', `127.0.0.1:${fleet.portOf(b)}`)
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replace('/etc/ssl/api.example.com.pem', join(folder, 'cert.pem'))
      .replace('/etc/ssl/api.example.com.key', join(folder, 'key.pem'));
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    await writeFile(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1; events {}
${process.getuid?.() === 0 ? 'user root;' : ''}
http { access_log ${folder}/access.log;
${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
${site} }`,
    );
    execFileSync(NGINX as string, ['-t', '-q', '-p', folder, '-c', join(folder, 'nginx.conf')]);
    const nginx = spawn(NGINX as string, ['-p', folder, '-c', join(folder, 'nginx.conf')], {
      stdio: 'ignore',
    });
    const ended = once(nginx, 'close');
    stop = async () => {
      nginx.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, maxRetries: 20 });
    };
    const isUp = () => get(port, `${prefix}/health`).then(() => 'up', String);
    expect(await until('up', isUp)).toBe('up');
    expect(await until(answer, () => call(port, `${prefix}/`))).toBe(answer);
    return port;
  }

  function get(port: number, path: string, init: { method?: string; headers?: Headers; body?: string } = {}) {
    return new Promise<string>((resolve, reject) => {
      const sent = request(
        {
          ...{ host: '127.0.0.1', port, path, method: init.method ?? 'GET', servername: HOST },
          ...{ ca: certificate.cert, agent: false },
          headers: { ...Object.fromEntries(init.headers ?? []), host: HOST },
        },
        (response) => {
          let body = '';
          response.on('data', (chunk) => {
            body += chunk;
          });
          response.on('end', () => resolve(`${response.statusCode} ${body}`));
        },
      );
      sent.on('error', reject);
      sent.end(init.body);
    });
  }

  async function sign(
    path: string,
    body?: string,
  ): Promise<{ method: string; headers: Headers; body?: string }> {
    const method = body === undefined ? 'GET' : 'POST';
    const made = new Request(`https://${HOST}${path}`, { method, ...(body === undefined ? {} : { body }) });
    const { headers } = await signRequest(made, fleet.signer);
    return { method, headers, ...(body === undefined ? {} : { body }) };
  }

  const call = async (port: number, path: string, body?: string) => get(port, path, await sign(path, body));

  /** What a caller sends, of every form that a proxy might change. */
  async function expectAll(port: number, paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      expect(await call(port, path), path).toBe(PASSED);
      expect(await call(port, path, 'x'.repeat(200_000)), path).toBe(PASSED);
    }
    const captured = await sign(paths[0] as string, 'hello');
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => get(port, paths[0] as string, captured)),
    );
    // On a busy machine the nonce store may answer one too late, whose claim may count all the same.
    const late = answers.filter((answer) => answer === '503 {"error":"nonce_store_unavailable"}').length;
    const passed = answers.filter((answer) => answer === PASSED).length;
    expect(passed).toBe(late === 0 ? 1 : Math.min(passed, 1));
    expect(answers.filter((answer) => answer === '401 {"error":"unauthorized"}')).toHaveLength(
      10 - late - passed,
    );
    const altered = await sign(paths[0] as string, 'hello');
    expect(await get(port, paths[0] as string, { ...altered, body: 'jello' })).toBe(
      '401 {"error":"unauthorized"}',
    );
  }

  const PATHS = ['/api/orders?b&a=1', '/a%2Fb', '//double//slash', '/%7Euser?x=%20+'];

  it('as documented: TLS ends there, Host and path are kept', async () => {
    await expectAll(await start(), PATHS);
  });

  it.each(['on', 'off'])('with proxy_request_buffering %s', async (value) => {
    const port = await start({}, (text) =>
      text.replace('proxy_next_upstream off;', `proxy_next_upstream off; proxy_request_buffering ${value};`),
    );
    await expectAll(port, PATHS.slice(0, 2));
  });

  const rewrite = (text: string) => text.replace('proxy_set_header Host $http_host;', '');

  it('with Host rewritten: the log names authority first, and does not lead to another refusal', async () => {
    await start({}, rewrite, '', '421 {"error":"wrong_host"}');
    const said = fleet.servers.map((server) => server.stderr()).join('');
    expect(said).toContain(
      `The request is for orders, which is not a host of this machine. If a proxy put it in: verify({ authority: '${HOST}' }). If`,
    );
  });

  it('with Host rewritten: authority', async () => {
    await expectAll(await start({ AUTHORITY: HOST }, rewrite), PATHS.slice(0, 2));
  });

  it('with a prefix stripped: pathPrefix', async () => {
    const strip = (text: string) =>
      text.replace('location / {', 'location /v1/ {').replace('http://orders;', 'http://orders/;');
    const port = await start({ PREFIX: '/v1' }, strip, '/v1');
    await expectAll(port, ['/v1/api/orders?b&a=1', '/v1/']);
    expect(await call(port, '/v1/a%2Fb')).toBe('401 {"error":"unauthorized"}'); // as docs/production.md says
  });
});
