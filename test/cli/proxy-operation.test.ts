import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Journal } from '../../src/cli/src/proxy/journal';
import { Command } from '../support/command';
import { freePort } from '../support/free-port';
import { Backend, linesOf, type Proxied, type RunningProxy, type Seen, useProxied } from '../support/proxied';
import { exchange, head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { objectOf, type Ran } from './amesh';

const createProxied = useProxied();
const MIB = 1_048_576;

let proxied: Proxied;
let backend: Backend;
let inward: RunningProxy;
let dir: string;
/** Responses that wait for the test. */
const opened: ServerResponse[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'amesh-proxy-test-'));
  proxied = await createProxied();
  backend = await new Backend((incoming, response) => {
    const seen = backend.note(incoming);
    if (incoming.url === '/late') opened.push(response);
    else response.end(JSON.stringify(seen));
  }).listen();
  inward = await proxied.protect(backend.origin);
}, 180_000);
afterAll(async () => {
  await inward?.end();
  backend?.close();
  await rm(dir, { recursive: true, force: true });
});

async function get(options: object): Promise<IncomingMessage & { text: string }> {
  const [answer] = (await once(request(options).end(), 'response')) as [IncomingMessage];
  return Object.assign(answer, { text: await text(answer) });
}

const at = ({ port }: RunningProxy, path = '/') => ({ host: '127.0.0.1', port, path });

describe('a Unix socket', () => {
  it('has the requested mode, replaces a socket that is left over, and is removed with the proxy', async () => {
    const socketPath = join(dir, 'orders.sock');
    const first = await proxied.to(inward.origin, ['--listen', socketPath], { isProcess: true });
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    process.kill(first.command.pid, 'SIGKILL');
    await first.command.ended;
    expect(existsSync(socketPath)).toBe(true);
    const second = await proxied.to(inward.origin, ['--listen', socketPath, '--mode', '0660']);
    expect(statSync(socketPath).mode & 0o777).toBe(0o660);
    const answer = await get({ socketPath, path: '/x', headers: { host: 'localhost' } });
    expect(answer.statusCode).toBe(200);
    const other = await proxied.caller.amesh(['proxy', '--to', inward.origin, '--listen', socketPath]);
    expect([other.code, other.stderr]).toMatchObject([1, expect.stringContaining('EADDRINUSE')]);
    const nowhere = join(dir, 'absent', 'orders.sock');
    const absent = await proxied.caller.amesh(['proxy', '--to', inward.origin, '--listen', nowhere]);
    expect(absent.stderr).toContain(`${nowhere}: there is no folder ${join(dir, 'absent')}.`);
    expect((await get({ socketPath, path: '/', headers: { host: 'localhost' } })).statusCode).toBe(200);
    expect(await second.end()).toBe(0);
    expect(existsSync(socketPath)).toBe(false);
  });

  it('leaves a file that is not a socket', async () => {
    const path = join(dir, 'file');
    await writeFile(path, 'mine');
    const ran = await proxied.caller.amesh(['proxy', '--to', inward.origin, '--listen', path]);
    expect([ran.code, statSync(path).size]).toEqual([1, 4]);
  });

  it('may be where the server behind the proxy listens', async () => {
    const path = join(dir, 'app.sock');
    const app = new Backend();
    app.server.listen(path);
    await once(app.server, 'listening');
    const proxy = await proxied.protect(`unix:${path}`);
    expect((await proxied.amesh.fetch(`${proxy.origin}/x`)).status).toBe(200);
    expect(app.seen.map(({ target }) => target)).toEqual(['/x']);
    expect(await proxy.end()).toBe(0);
    app.close();
  });
});

describe('who may call', () => {
  it('is looked up for each request, with scopes, delegates and names', async () => {
    const proxy = await proxied.protect(backend.origin, [
      '--require',
      'orders:read',
      '--require',
      'orders:write',
    ]);
    const ask = () => proxied.amesh.fetch(`${proxy.origin}/orders`);
    const refused = await ask();
    expect([refused.status, await refused.text()]).toEqual([
      403,
      '{"error":"scope_missing","scope":"orders:read"}',
    ]);
    // Renamed first: the proxy may see the list between two commands, and the right is what is waited for.
    await proxied.target.amesh(['rename', 'laptop', 'Büro: 50% "x"']);
    await proxied.target.amesh(['allow', proxied.callerId, 'orders:*', 'reports:read']);
    await expect.poll(async () => (await ask()).status).toBe(200);
    const seen = (await (await ask()).json()) as Seen;
    expect(linesOf(seen, 'authmesh-caller-scopes')).toEqual(['orders:* reports:read']);
    expect(linesOf(seen, 'authmesh-caller-name').map(decodeURIComponent)).toEqual(['Büro: 50% "x"']);
    expect(linesOf(seen, 'authmesh-caller-name')).toEqual(['B%C3%BCro%3A%2050%25%20%22x%22']);
    await proxied.target.amesh(['deny', proxied.callerId, 'orders:*', 'reports:read']);
    await proxied.target.amesh(['rename', proxied.callerId, 'laptop']);
    await expect.poll(async () => (await ask()).status).toBe(403);
    expect(await proxy.end()).toBe(0);
  });

  it('is proven to a caller that asks, like the answers', async () => {
    const required = proxied.callerWith({ answers: 'required' });
    const answer = await required.fetch(`${inward.origin}/proven`);
    expect(((await answer.json()) as Seen).target).toBe('/proven');
  });
});

describe('a WebSocket', () => {
  it('is cut when its device loses the scope, and when it is revoked', async () => {
    const sockets = new WebSocketServer({ server: backend.server, path: '/socket' });
    const proxy = await proxied.protect(backend.origin, ['--require', 'live']);
    const front = await proxied.to(proxy.origin);
    const open = async () => {
      await proxied.target.amesh(['allow', proxied.callerId, 'live']);
      await expect.poll(async () => (await get(at(front))).statusCode).toBe(200);
      const socket = new WebSocket(`ws://127.0.0.1:${front.port}/socket`);
      await once(socket, 'open');
      return socket;
    };
    const first = await open();
    await proxied.target.amesh(['deny', proxied.callerId, 'live']);
    await once(first, 'close');
    const second = await open();
    await proxied.target.amesh(['revoke', proxied.callerId, '--yes']);
    await once(second, 'close');
    await expect.poll(() => sockets.clients.size).toBe(0);
    expect([await front.end(), await proxy.end()]).toEqual([0, 0]);
    expect(proxy.events('cut')).toEqual([
      { event: 'cut', path: '/socket' },
      { event: 'cut', path: '/socket' },
    ]);
    sockets.close();
    await proxied.trust();
  });
});

describe('forwarded addresses', () => {
  it('are those of a proxy in front only if the option says so', async () => {
    const trusting = await proxied.protect(backend.origin, ['--trust-forwarded']);
    const names = [
      'x-forwarded-for',
      'x-real-ip',
      'x.forwarded.for',
      'x-real~ip',
      'x-forwarded',
      'x-client-ip',
    ];
    const invented = {
      ...Object.fromEntries(names.map((name) => [name, '6.6.6.6'])),
      forwarded: 'for=6.6.6.6',
    };
    const ask = async ({ origin }: RunningProxy) =>
      (await (await proxied.amesh.fetch(origin, { headers: invented })).json()) as Seen;
    const cleaned = await ask(inward);
    expect(cleaned.lines.join()).not.toContain('6.6.6.6');
    expect(linesOf(cleaned, 'x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(linesOf(cleaned, 'x-forwarded-proto')).toEqual(['http']);
    const kept = await ask(trusting);
    expect(linesOf(kept, 'x-forwarded-for')).toEqual(['6.6.6.6']);
    await trusting.end();
  });
});

describe('an end', () => {
  it('waits for open requests, reports that to an orchestrator, and then exits', async () => {
    const healthPort = await freePort();
    const proxy = await proxied.to(inward.origin, ['--health', `127.0.0.1:${healthPort}`]);
    const health = () => get({ host: '127.0.0.1', port: healthPort, path: '/health' });
    expect([(await health()).statusCode, (await health()).text]).toEqual([200, '{"status":"ok"}']);
    // It hides nothing of the server.
    expect(JSON.parse((await get(at(proxy, '/health'))).text)).toMatchObject({ target: '/health' });
    const waiting = get({ ...at(proxy, '/late'), agent: false });
    await expect.poll(() => opened.length).toBe(1);
    proxy.command.kill('SIGTERM');
    await expect.poll(async () => (await health()).statusCode).toBe(503);
    await expect(get({ ...at(proxy), agent: false })).rejects.toThrow('ECONNREFUSED');
    opened.pop()?.end('at last');
    const answer = await waiting;
    expect([answer.text, answer.headers.connection]).toEqual(['at last', 'close']);
    expect(await proxy.command.ended).toBe(0);
    expect(proxy.command.objects.at(-1)).toEqual({ ok: true, passed: 2, refused: 0 });
    expect(proxy.command.objects.map(({ event }) => event)).toEqual([
      ...['listening', 'request', 'ending', 'request', undefined],
    ]);
  });

  it('cuts requests that do not end, at the second signal or after --grace', async () => {
    for (const [flags, signals] of [
      [['--grace', '1s'], 1],
      [[], 2],
    ] as const) {
      const proxy = await proxied.to(inward.origin, flags);
      const waiting = get({ ...at(proxy, '/late'), agent: false });
      const cut = expect(waiting).rejects.toThrow();
      await expect.poll(() => opened.length).toBe(1);
      for (let i = 0; i < signals; i++) proxy.command.kill('SIGINT');
      expect(await proxy.command.ended).toBe(0);
      await cut;
      opened.pop()?.destroy();
    }
  });

  it('by a kill leaves nothing of a body, and the next start removes the remains of a crash', async () => {
    const spool = proxied.spool();
    const proxy = await proxied.to(inward.origin, ['--spool', spool], { isProcess: true });
    const sent = request({ ...at(proxy), method: 'POST', headers: { 'content-length': 3 * MIB } });
    sent.on('error', () => {});
    sent.write(Buffer.alloc(2 * MIB));
    const files = () => readdirSync(`/proc/${proxy.command.pid}/fd`).length;
    const before = files();
    await expect.poll(files).toBeGreaterThanOrEqual(before);
    process.kill(proxy.command.pid, 'SIGKILL');
    await proxy.command.ended;
    expect(readdirSync(spool)).toEqual([]);
    // Between open() and unlink() a file has a name.
    const left = join(spool, `body-${'0'.repeat(24)}`);
    await writeFile(left, 'half a body');
    await writeFile(join(spool, 'of-somebody-else'), '');
    const next = await proxied.to(inward.origin, ['--spool', spool]);
    expect(readdirSync(spool)).toEqual(['of-somebody-else']);
    await next.end();
  });
});

describe('what it does not start with', () => {
  const LISTEN = ['--listen', '127.0.0.1:0'];
  const CASES: Readonly<Record<string, readonly [args: readonly string[], message: string]>> = {
    'neither direction': [LISTEN, 'Give either --to or --protect.'],
    'both directions': [
      ['--to', 'http://a', '--protect', 'http://b', ...LISTEN],
      'Give either --to or --protect.',
    ],
    'a flag of the other direction': [
      ['--to', 'http://a', '--require', 'x', ...LISTEN],
      '--require is for --protect.',
    ],
    'another flag of the other direction': [
      ['--protect', 'http://a', '--answers', 'off', ...LISTEN],
      '--answers is for --to.',
    ],
    'a URL with a path': [['--to', 'http://a/b', ...LISTEN], '--to must be a URL without path and user'],
    'a URL with a user': [['--to', 'http://u:p@a', ...LISTEN], '--to must be a URL without path and user'],
    'another scheme': [['--to', 'ftp://a', ...LISTEN], '--to must be a URL without path and user'],
    'no port': [['--to', 'http://a', '--listen', '127.0.0.1'], '--listen must be HOST:PORT'],
    'all addresses': [['--to', 'http://a', '--listen', ':8081'], 'that other machines can reach.'],
    'another address': [['--to', 'http://a', '--listen', '0.0.0.0:8081'], 'that other machines can reach.'],
    'an address of IPv6': [['--to', 'http://a', '--listen', '[::]:8081'], 'that other machines can reach.'],
    'a name that looks like loopback': [
      ['--to', 'http://a', '--listen', '127.0.0.1.evil.example:8081'],
      'that other machines can reach.',
    ],
    'a mode without a socket': [
      ['--to', 'http://a', '--mode', '0660', ...LISTEN],
      '--mode is for a Unix socket.',
    ],
    'a certificate without its key': [
      ['--protect', 'http://a', '--cert', '/nowhere', ...LISTEN],
      '--cert and --key go together.',
    ],
    'a size without a unit': [['--protect', 'http://a', '--max-body', '10', ...LISTEN], '--max-body must be'],
    'a scope with a wildcard': [['--protect', 'http://a', '--require', 'orders:*', ...LISTEN], 'require'],
  };
  it.each(Object.keys(CASES))('%s', async (name) => {
    const [args, message] = CASES[name] as (typeof CASES)[string];
    const spool = ['--spool', join(dir, 'spool')];
    const ran = await proxied.target.amesh(['proxy', ...args, ...spool]);
    expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it('a target that this machine does not know', async () => {
    const ran = await proxied.caller.amesh(['proxy', '--to', 'https://other.example', ...LISTEN, '--json']);
    const { error } = objectOf(ran) as { error: { code: string; message: string; hint: string } };
    expect([error.code, error.message]).toEqual([
      'unknown_target',
      'This machine knows no target at other.example.',
    ]);
    const add = proxied.caller.here('amesh trust add --role target --host other.example LINE');
    expect(error.hint).toBe(
      `Call it by a host that amesh list shows, or pair with it, or add the host by hand; LINE is what amesh trust export prints there: ${add}`,
    );
  });

  it.each([
    [
      'a URL with a path',
      'http://a:81/api/v1',
      'Without its path, which each request brings: --to http://a:81\n',
    ],
    ['a host without a scheme', 'localhost:3000', 'With http:// or https://: --to http://localhost:3000\n'],
    ['a name and a path', 'a/api', 'With http:// or https://: --to http://a\n'],
  ])('%s, and shows the corrected flag', async (_name, url, hint) => {
    const ran = await proxied.caller.amesh(['proxy', '--to', url, ...LISTEN]);
    expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(hint)]);
  });

  it('a URL with a secret, which it does not repeat', async () => {
    for (const url of ['http://u:secret@a/b', 'u:secret@a', 'http://a/?token=secret', 'http://a/#secret']) {
      const ran = await proxied.caller.amesh(['proxy', '--to', url, ...LISTEN]);
      expect([ran.code, ran.stdout + ran.stderr]).toEqual([2, expect.not.stringContaining('secret')]);
    }
  });

  it('no identity', async () => {
    const env = { AUTH_MESH_DIR: join(dir, 'nobody') };
    for (const direction of ['--to', '--protect']) {
      const ran: Ran = await proxied.caller.amesh(['proxy', direction, 'http://a', ...LISTEN], { env });
      expect([ran.code, ran.stderr]).toEqual([10, expect.stringContaining('amesh init')]);
    }
  });

  it('a folder for bodies that others can use, or that is a link', async () => {
    const open = join(dir, 'open');
    await mkdir(open);
    await chmod(open, 0o755);
    const link = join(dir, 'link');
    await symlink(open, link);
    for (const folder of [open, link]) {
      const ran = await proxied.target.amesh([
        'proxy',
        '--protect',
        'http://a',
        ...LISTEN,
        '--spool',
        folder,
      ]);
      expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('Others can use the folder')]);
    }
  });
});

it('accepts another name, and other machines, only if an option says so', async () => {
  const flags = ['--listen', '0.0.0.0:0', '--allow-other-machines', '--host', 'orders-proxy:8081'];
  const proxy = await proxied.to(inward.origin, flags);
  const statusFor = async (host: string) => (await get({ ...at(proxy), headers: { host } })).statusCode;
  expect([await statusFor('orders-proxy:8081'), await statusFor('orders-proxy')]).toEqual([200, 421]);
  await proxy.end();
});

it('prints one request per line, without its query, and not everything that a stranger sends', async () => {
  const proxy = await proxied.protect(backend.origin);
  await proxied.amesh.fetch(`${proxy.origin}/orders?token=secret`);
  const lines = [`Host: 127.0.0.1:${proxy.port}`, 'a_b: c'];
  for (let i = 0; i < 100; i++) await exchange(proxy.port, head('GET /x?token=secret HTTP/1.1', lines));
  await expect.poll(() => proxy.events('request').length).toBe(1);
  expect(proxy.events('request')).toMatchObject([
    { method: 'GET', path: '/orders', status: 200, caller: proxied.callerId },
  ]);
  expect(await proxy.end()).toBe(0);
  expect(proxy.command.stdout).not.toContain('secret');
  expect(proxy.events('refused').length).toBeLessThan(100);
  expect(proxy.command.objects.at(-1)).toMatchObject({ passed: 1, refused: 100 });
});

it('without --json, prints why it has answered itself: the first time for each code, and not each time', async () => {
  const port = await freePort();
  await proxied.know(`127.0.0.1:${port}`);
  const spool = ['--spool', proxied.spool()];
  const args = ['proxy', '--to', `http://127.0.0.1:${port}`, '--listen', '127.0.0.1:0', ...spool];
  const command = new Command(proxied.caller, args);
  const front = await command.until(/requests to 127\.0\.0\.1:(\d+)/);
  const ask = (path: string, headers = {}) => get({ host: '127.0.0.1', port: Number(front), path, headers });
  for (let i = 0; i < 3; i++) expect((await ask('/orders?token=secret')).statusCode).toBe(502);
  expect((await ask('/orders', { host: 'evil.example' })).statusCode).toBe(421);
  await command.until(/wrong_host/);
  command.kill('SIGTERM');
  expect(await command.ended).toBe(0);
  const lines = command.stderr.split('\n').filter((line) => line.startsWith('amesh: '));
  expect(lines).toEqual([
    `amesh: 502 server_unreachable: http://127.0.0.1:${port} cannot be reached: ECONNREFUSED. [GET /orders]`,
    expect.stringMatching(/^amesh: 421 wrong_host: .+ \[GET \/orders\]$/),
  ]);
  expect(command.stdout).toBe('');
});

it('says how many failures had no line, once 10 s have passed', () => {
  const lines: string[] = [];
  const failures = new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) });
  const journal = new Journal({ failures });
  const answer = { status: 502, wire: 'x', code: 'server_unreachable', message: 'Gone\n\u001b[2J.' };
  for (const nowMs of [0, 1, 9_999, 10_000, 25_000])
    journal.failed({ method: 'GET', url: '/a?b' }, answer, 0, nowMs);
  const line = 'amesh: 502 server_unreachable: Gone\\u{a}\\u{1b}[2J. [GET /a]';
  expect(lines).toEqual([`${line}\n`, `${line} (2 more like it before)\n`, `${line}\n`]);
});

it('gives up an idle connection before the server behind it closes it, according to its Keep-Alive', async () => {
  const app = createHttpServer((request, response) => {
    request.resume();
    response.setHeader('keep-alive', 'timeout=2').end('in');
  });
  app.keepAliveTimeout = 60_000; // so it is the proxy that closes
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  const connections = () => new Promise((done) => app.getConnections((_, count) => done(count)));
  const proxy = await proxied.protect(`http://127.0.0.1:${(app.address() as { port: number }).port}`);
  expect((await proxied.amesh.fetch(`${proxy.origin}/`, { method: 'POST', body: '{}' })).status).toBe(200);
  expect(await connections()).toBe(1);
  await expect.poll(connections, { timeout: 20_000 }).toBe(0);
  expect((await proxied.amesh.fetch(`${proxy.origin}/`, { method: 'POST', body: '{}' })).status).toBe(200);
  expect(await proxy.end()).toBe(0);
  app.close();
}, 30_000);

it('speaks HTTP/1.1 and WebSocket over TLS, too', async () => {
  const { args, cert } = await proxied.certificate();
  const proxy = await proxied.protect(backend.origin, args);
  const signed = await signedRaw(proxied.signer, `127.0.0.1:${proxy.port}`, { target: '/late' });
  const headers = Object.fromEntries(signed.headers.map((line) => line.split(/: (.*)/s)));
  const socket = new WebSocket(`wss://127.0.0.1:${proxy.port}/late`, { ca: cert, headers });
  socket.on('error', () => {});
  await expect.poll(() => opened.length).toBe(1);
  opened.pop()?.writeHead(418, { 'content-length': 2 }).end('no');
  const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  expect([answer.statusCode, await text(answer)]).toEqual([418, 'no']);
  expect(await proxy.end()).toBe(0);
});

/** Ports that are free now. */
