import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/fleet';
import { freePort } from '../support/free-port';
import { asking, checked, provingVerifier, receive } from '../support/proofs';
import { type ProvingServer, provingKinds } from '../support/proving-servers';

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));
if (NGINX === undefined) console.warn('Tests of answers behind nginx are skipped: there is no nginx.');

const text = 'The quick brown fox jumps over the lazy dog. '.repeat(1000);
const kinds = provingKinds.filter(({ name }) => name === 'Express 5' || name === 'Fastify 5');

describe.skipIf(NGINX === undefined && !process.env.CI)('proven answers through nginx', () => {
  const servers: ProvingServer[] = [];
  const ports: Record<string, number> = {};
  let stop: () => Promise<void>;

  /** One nginx, with a port for each server, with and without gzip. */
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'amesh-answers-'));
    const sites: string[] = [];
    for (const { name, start } of kinds) {
      const server = await start(await provingVerifier(), (request, response) => {
        response.setHeader('content-type', 'text/plain');
        response.setHeader('etag', '"1"');
        if (request.headers['if-none-match']) return response.writeHead(304).end();
        if (request.url === '/stream') {
          response.write(text);
          return response.end('end');
        }
        response.setHeader('set-cookie', ['a=1', 'b=2']);
        return response.end(request.url === '/empty' ? '' : text);
      });
      servers.push(server);
      for (const gzip of ['on', 'off']) {
        const port = await freePort();
        ports[`${name} ${gzip}`] = port;
        sites.push(`server { listen 127.0.0.1:${port}; gzip ${gzip}; gzip_types text/plain; gzip_proxied any; charset utf-8;
location / { proxy_pass http://127.0.0.1:${server.port}; proxy_set_header Host $http_host; } }`);
      }
    }
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    await writeFile(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1; events {}
${process.getuid?.() === 0 ? 'user root;' : ''}
http { access_log off; ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n')}
${sites.join('\n')} }`,
    );
    const nginx = spawn(NGINX as string, ['-p', folder, '-c', join(folder, 'nginx.conf')], {
      stdio: 'ignore',
    });
    const ended = once(nginx, 'close');
    stop = async () => {
      nginx.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, maxRetries: 20 });
    };
    const [port] = Object.values(ports);
    const isUp = () => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => String(status), String);
    expect(await until('401', isUp)).toBe('401');
  });
  afterAll(async () => {
    await stop?.();
    for (const server of servers) await server.close();
  });

  it.each(kinds.flatMap(({ name }) => [`${name} on`, `${name} off`]))('stay proven: %s', async (kind) => {
    const ask = async (target: string, more: Record<string, string> = {}) => {
      const headers = { 'accept-encoding': 'gzip', ...more };
      const { request, expected } = await asking({ target, headers });
      const answer = await receive(ports[kind] as number, request);
      return { answer, ...(await checked(answer, expected)) };
    };
    const whole = await ask('/');
    expect([whole.proof, whole.text === text]).toEqual(['proven', true]);
    expect(whole.answer.headers['content-encoding']).toEqual(kind.endsWith('on') ? ['gzip'] : undefined);
    expect(whole.answer.headers['content-type']).toEqual(['text/plain; charset=utf-8']);
    expect(whole.covered).toEqual(['content-type', 'unencoded-digest', 'etag', 'set-cookie']);
    expect((await ask('/empty')).proof).toBe('proven');
    const stream = await ask('/stream');
    expect([stream.proof, stream.text === `${text}end`]).toEqual(['stream', true]);
    expect(await ask('/', { 'if-none-match': '"1"' })).toMatchObject({ proof: 'proven', status: 304 });
  });
});
