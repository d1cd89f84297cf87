import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { blocksOf } from '../docs/blocks';
import { createCertificate } from '../support/certificate';
import { freePort } from '../support/free-port';
import { type PackedRelay, packRelay } from '../support/packed-relay';
import { describeWithRedis, startRedis } from '../support/redis';
import { Client, type ClientOptions, startRelay } from './client';

// The configurations of docs/self-hosting.md that need more than a shell. Only ports and paths are replaced.

const PAGE = 'docs/self-hosting.md';
const NAME = 'relay.example.com';
const execute = promisify(execFile);

/** The blocks of a language that are run here, in their order. */
function blocks(language: string): string[] {
  return blocksOf(PAGE)
    .filter((block) => block.language === language && block.noRun?.startsWith('run by'))
    .map(({ text }) => text);
}

/** `describe` for tests that need a Debian package: without it they are skipped, and fail in CI. */
function describeWith(program: string, argument: string) {
  const isHere = spawnSync(program, [argument], { env: ENV }).error === undefined;
  if (!isHere) console.warn(`Tests with ${program} are skipped: there is none in the PATH.`);
  return describe.skipIf(!isHere && !process.env.CI);
}

const ENV = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'amesh-hosting-'));
  onTestFinished(() => rmSync(path, { recursive: true, maxRetries: 20 }));
  return path;
}

/** Starts a program that stays, and waits until something listens. It ends with the test. */
async function run(
  program: string,
  args: string[],
  port: string,
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  const child: ChildProcess = spawn(program, args, {
    env: { ...ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
  onTestFinished(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) break;
    if (await answers(port)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${program} does not listen on ${port}:\n${output}`);
}

function answers(port: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

/** What has to work behind every proxy. */
async function checkProxy(port: string, ca: string) {
  const at = (from: string, headers = {}): Promise<Client> => {
    const options: ClientOptions = { from, headers, tls: { ca, name: NAME } };
    return Client.open(Number(port), options);
  };
  const [t, c] = [await at('127.0.0.2'), await at('127.0.0.3')];
  c.join(await t.listen());
  expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
  const body = 'é\u0001'.repeat(2000);
  c.send({ type: 'msg', body });
  expect(await t.next()).toEqual({ type: 'msg', body });
  t.send({ type: 'bye' });
  expect(await c.next()).toEqual({ type: 'peer_gone' });
  expect(await c.closed).toBe(1000);

  // An address has its limits by itself, and none writes itself another one.
  const got = [];
  for (let i = 0; i < 11; i++) {
    const client = await at('127.0.0.4', { 'x-forwarded-for': `10.0.0.${i}` });
    got.push((await client.send({ type: 'listen', v: 1 }).next())?.type);
    await client.end();
  }
  expect(got).toEqual([...Array(10).fill('listening'), 'error']);
  await (await at('127.0.0.5')).listen();

  await expect(at('127.0.0.6', { origin: `https://${NAME}` })).rejects.toThrow('403');
}

/** What a path behind the proxy answers: its status and its body. */
async function get(port: string, path: string): Promise<string> {
  const url = `https://${NAME}:${port}${path}`;
  const args = ['-sk', '-w', ' %{http_code}', '--resolve', `${NAME}:${port}:127.0.0.1`, url];
  return (await execute('curl', args)).stdout;
}

describeWith('nginx', '-v')('behind nginx', () => {
  const [config = '', upstreams = ''] = blocks('nginx');

  async function startNginx(text: string, relayPorts: readonly number[]) {
    const dir = folder();
    const port = String(await freePort());
    const { key, cert } = createCertificate(NAME);
    writeFileSync(join(dir, 'cert.pem'), cert);
    writeFileSync(join(dir, 'cert.key'), key);
    const real = text
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replace(`/etc/ssl/${NAME}.pem`, join(dir, 'cert.pem'))
      .replace(`/etc/ssl/${NAME}.key`, join(dir, 'cert.key'))
      .replace(/127\.0\.0\.1:300([12])/g, (_, number) => `127.0.0.1:${relayPorts[number - 1]}`);
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${dir}/${name};`,
    );
    writeFileSync(
      join(dir, 'nginx.conf'),
      `daemon off; pid ${dir}/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off; ${paths.join(' ')}\n${real}}\n`,
    );
    await run('nginx', ['-e', 'stderr', '-p', dir, '-c', join(dir, 'nginx.conf')], port);
    return { port, cert };
  }

  it('with the configuration of the document: TLS, upgrade, addresses, and nothing but /ws', async () => {
    const { relay, port: relayPort } = await startRelay({ trustedProxies: 1 });
    onTestFinished(() => relay.close());
    const { port, cert } = await startNginx(config, [relayPort]);
    await checkProxy(port, cert);
    expect(await get(port, '/ws')).toBe('This is a WebSocket. 426');
    for (const path of ['/', '/metrics', '/ready', '/ws/']) expect(await get(port, path)).toMatch(/ 404$/);
  });

  describeWithRedis('and two instances', () => {
    it('with both blocks of the document: clients may reach different instances', async () => {
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      const options = { trustedProxies: 1, redis: redis.url };
      const relays = await Promise.all([startRelay(options), startRelay(options)]);
      onTestFinished(async () => void (await Promise.all(relays.map(({ relay }) => relay.close()))));
      const { port, cert } = await startNginx(
        config.replace(/upstream amesh_relay \{.*?\}\n/s, upstreams),
        relays.map(({ port }) => port),
      );
      for (let i = 0; i < 8; i++) {
        const tls = { ca: cert, name: NAME };
        const [t, c] = [await Client.open(Number(port), { tls }), await Client.open(Number(port), { tls })];
        c.join(await t.listen());
        expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
        c.send({ type: 'bye' });
        expect(await t.next()).toEqual({ type: 'peer_gone' });
      }
      for (const { log } of relays)
        expect(log.filter(({ event }) => event === 'join').length).toBeGreaterThan(0);
    });
  });
});

describeWith('caddy', 'version')('behind Caddy', () => {
  it('with the configuration of the document: TLS, upgrade, addresses, and nothing but /ws', async () => {
    const { relay, port: relayPort } = await startRelay({ trustedProxies: 1 });
    onTestFinished(() => relay.close());
    const dir = folder();
    const port = String(await freePort());
    const httpPort = await freePort();
    // A certificate made here, where the document's Caddy would request one.
    const options = `{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\thttps_port ${port}\n\thttp_port ${httpPort}\n}\n`;
    const [config = ''] = blocks('text');
    writeFileSync(join(dir, 'Caddyfile'), options + config.replace('3001', String(relayPort)));
    const env = { HOME: dir, XDG_DATA_HOME: dir, XDG_CONFIG_HOME: dir };
    await run('caddy', ['run', '--config', join(dir, 'Caddyfile'), '--adapter', 'caddyfile'], port, env);
    const root = join(dir, 'caddy/pki/authorities/local/root.crt');
    await expect
      .poll(() => get(port, '/ws').catch(() => ''), { timeout: 10_000 })
      .toBe('This is a WebSocket. 426');
    await checkProxy(port, readFileSync(root, 'utf8'));
    for (const path of ['/metrics', '/ready']) expect(await get(port, path)).toMatch(/^ \d{3}$/); // nothing
  });
});

describeWith('systemd-analyze', '--version')('the systemd unit', () => {
  it('is accepted by systemd', async () => {
    const unit = join(folder(), 'amesh-relay.service');
    const [text = ''] = blocks('ini');
    expect(text).toContain(
      'ExecStart=/usr/bin/node /opt/amesh-relay/node_modules/@authmesh/relay/bin/amesh-relay.mjs\n',
    );
    writeFileSync(unit, text.replace('/usr/bin/node', process.execPath));
    const { stdout, stderr } = await execute('systemd-analyze', ['verify', '--man=no', unit]);
    expect(stdout + stderr).not.toContain('amesh-relay');
    writeFileSync(
      unit,
      text.replace('NoNewPrivileges', 'NoNewPrivilege').replace('/usr/bin/node', process.execPath),
    );
    const wrong = await execute('systemd-analyze', ['verify', '--man=no', unit]).catch((error) => error);
    expect(wrong.stdout + wrong.stderr).toContain('NoNewPrivilege');
  });
});

describe('with the package installed', () => {
  let packed: PackedRelay;
  beforeAll(async () => {
    packed = await packRelay();
    await packed.install(packed.tarball, `ioredis@${manifest.devDependencies.ioredis}`);
  }, 240_000);
  afterAll(() => packed?.remove());

  it('the commands of the Dockerfile, by hand', async () => {
    const [text = ''] = blocks('dockerfile');
    const lines = text.split('\n').filter((line) => /^[A-Z]/.test(line));
    const words = lines.map((line) => line.slice(0, line.indexOf(' ')));
    expect(words).toEqual(['FROM', 'WORKDIR', 'RUN', 'USER', 'EXPOSE', 'HEALTHCHECK', 'CMD']);
    const behind = (start: string) => lines.find((line) => line.startsWith(start))?.slice(start.length) ?? '';
    const install = behind('RUN npm install ').split(' ');
    expect(install).toEqual(['--omit=dev', '@authmesh/relay', 'ioredis']); // as above, from the tarball
    const [check, command] = [behind('HEALTHCHECK CMD '), behind('CMD ')].map(
      (json) => JSON.parse(json) as string[],
    );
    const [file = '', ...args] = command ?? [];
    const port = String(await freePort());
    const env = { PATH: ENV.PATH, PORT: port };
    const child = spawn(file, args, { cwd: packed.dir, env, stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    await expect.poll(() => answers(port), { timeout: 10_000 }).toBe(true);
    const healthy = () =>
      execute(check?.[0] as string, check?.slice(1), { env }).then(
        () => 0,
        (error) => error.code,
      );
    expect(await healthy()).toBe(0);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(await healthy()).toBe(1);
  });

  describeWithRedis('and a Redis', () => {
    it('the commands that start two instances', async () => {
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      const one = String(await freePort());
      const two = String(await freePort());
      const [script = ''] = blocks('sh');
      const real = script
        .replaceAll('3001', one)
        .replaceAll('3002', two)
        .replace('redis://127.0.0.1:6379', redis.url);
      const { HOME = '' } = process.env;
      const { stdout } = await execute(
        'bash',
        ['-euo', 'pipefail', '-c', `${real}\nkill $(jobs -p); wait || true`],
        {
          cwd: packed.dir,
          env: { PATH: ENV.PATH, HOME },
          timeout: 25_000,
        },
      );
      expect(stdout).toContain('{"status":"ready"}{"status":"ready"}');
    });
  });
});
