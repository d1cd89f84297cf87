import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { createAmesh } from '@authmesh/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCertificate } from '../support/certificate';
import { Command } from '../support/command';
import { type ConnectProxy, type ConnectProxyOptions, startConnectProxy } from '../support/connect-proxy';
import { listen } from '../support/listen';
import { useRelay } from '../support/use-relay';
import { type Machine, objectOf, useMachines } from './amesh';
import { examineWith } from './examine';

/** Names that nothing on this machine can resolve: only the proxy knows where they lead. */
const RELAY_HOST = 'relay.corp.example';
const API_HOST = 'api.corp.example';
const RELAY = `wss://${RELAY_HOST}/ws`;
const LOGIN = 'ann:h%40rse';

const createMachine = useMachines();
const relay = useRelay();
const certificate = createCertificate(RELAY_HOST, API_HOST);
const endings: (() => unknown)[] = [];
let names: Record<string, number>;
let proxy: ConnectProxy;
let env: Record<string, string>;
/** The same without the certificate, which Node itself reads when it starts: for what goes no further than the proxy. */
let envToProxy: Record<string, string>;
let prod: Machine;

async function startProxy(options: ConnectProxyOptions): Promise<ConnectProxy> {
  const started = await startConnectProxy(options);
  endings.push(() => started.close());
  return started;
}

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'amesh-ca-'));
  endings.push(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'ca.pem'), certificate.cert);

  prod = await createMachine('prod-api');
  const amesh = createAmesh({ dir: prod.dir, env: {}, hosts: [API_HOST] });
  const verify = amesh.verify();
  const api = createServer(certificate, (request, response) => {
    void verify(request as never, response as never, () => response.end('in'));
  });
  const tls = createTlsServer(certificate, (near) => {
    const far = connect(relay.port, '127.0.0.1');
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
  endings.push(() => tls.close());
  const served = await listen(api as never);
  endings.push(() => served.close());
  names = { [RELAY_HOST]: (tls.address() as { port: number }).port, [API_HOST]: served.port };
  proxy = await startProxy({ names, login: 'ann:h@rse' });
  envToProxy = { HTTPS_PROXY: `http://${LOGIN}@127.0.0.1:${proxy.port}`, AMESH_RELAY_URL: RELAY };
  env = { ...envToProxy, NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') };
}, 180_000);

afterAll(() => Promise.all(endings.map((end) => end())));

describe('a relay and a server that only a proxy reaches', () => {
  it('the whole ceremony uses it, and so does doctor', async () => {
    const laptop = await createMachine('laptop');
    const target = new Command(prod, ['listen', '--host', API_HOST], { env });
    const code = await target.until(/^(\d{6})\b/);
    const inviting = new Command(laptop, ['invite', code, '--yes', '--host', API_HOST], { env });
    const shown = await inviting.until(/^(\d{6})\b/);
    target.type(shown);
    expect([await target.ended, await inviting.ended]).toEqual([0, 0]);
    expect((await prod.allowList()).devices).toHaveLength(1);
    expect((await laptop.allowList()).devices).toMatchObject([{ hosts: [API_HOST], roles: ['target'] }]);
    expect(proxy.asked).toEqual([`${RELAY_HOST}:443`, `${RELAY_HOST}:443`]);

    const found = await examineWith(laptop, env, `https://${API_HOST}/`);
    expect(found.of.relay).toMatchObject({
      state: 'ok',
      message: `${RELAY} accepts connections (AMESH_RELAY_URL).`,
    });
    expect(found.of.target).toMatchObject({
      state: 'ok',
      message: expect.stringContaining('accepted this machine'),
    });
    expect(found.of.clock?.state).toBe('ok');
    const way = `is called through the proxy 127.0.0.1:${proxy.port} (HTTPS_PROXY).`;
    expect(found.of.proxy).toMatchObject({
      state: 'warning',
      message: `The relay ${way} ${API_HOST} ${way} But amesh.fetch uses the global fetch, which does not use the proxy here.`,
      fix: expect.stringContaining('docs/corporate-proxy.md'),
    });
    expect(found.code).toBe(0);
    const printed = [target, inviting, found].map(({ stdout, stderr }) => stdout + stderr).join('');
    expect(printed).not.toMatch(/h@rse|h%40rse|ann/);
  });

  it('without it, neither is reached', async () => {
    const { HTTPS_PROXY: _, ...without } = env;
    const ran = await prod.amesh(['listen', '--json'], { env: without });
    expect(ran.code).toBe(3);
    expect(lastError(ran.stdout)).toMatchObject({ code: 'relay_unreachable' });
    const found = await examineWith(prod, { ...env, NO_PROXY: '.corp.example' }, `https://${API_HOST}/`);
    expect(found.of.proxy).toMatchObject({
      state: 'ok',
      message: `The relay is called without a proxy (NO_PROXY). ${API_HOST} is called without a proxy (NO_PROXY).`,
    });
    expect(found.of.target?.message).toMatch(/The name api\.corp\.example has no address/);
  });
});

/** What listen and invite say, and what doctor finds of relay and target. */
async function failuresOf(more: Record<string, string>) {
  const machine = await createMachine('a');
  const all = { ...envToProxy, ...more };
  const [listening, inviting, found] = await Promise.all([
    machine.amesh(['listen', '--json'], { env: all }),
    machine.amesh(['invite', '123456', '--yes', '--json'], { env: all }),
    examineWith(machine, all, `https://${API_HOST}/`),
  ]);
  expect(listening.stdout + inviting.stdout + found.stdout).not.toMatch(/h@rse|h%40rse|ann/);
  return { listening: lastError(listening.stdout), inviting: lastError(inviting.stdout), found };
}

function lastError(stdout: string): { code: string; message: string; hint: string } {
  return JSON.parse(stdout.trim().split('\n').at(-1) as string).error;
}

describe.concurrent('a proxy that opens no tunnel', () => {
  it.concurrent.each([
    [407, 'does not accept this user name and password (HTTP 407).'],
    [403, 'does not allow a connection to HOST:443 (HTTP 403).'],
    [502, 'does not reach HOST:443 (HTTP 502).'],
  ])('%i is reported by listen, invite and doctor', async (status, cause) => {
    const refusing = await startProxy({ refuse: [status] });
    const { listening, inviting, found } = await failuresOf({
      HTTPS_PROXY: `http://${LOGIN}@127.0.0.1:${refusing.port}`,
    });
    const text = (host: string) =>
      `The proxy 127.0.0.1:${refusing.port}, from HTTPS_PROXY, ${cause.replace('HOST', host)}`;
    for (const error of [listening, inviting]) {
      expect(error.code).toBe('relay_unreachable');
      expect(error.message).toBe(`${text(RELAY_HOST)} Your devices are fine.`);
      expect(error.hint).toContain(`add ${RELAY_HOST} to NO_PROXY.`);
    }
    expect(found.of.relay).toMatchObject({
      state: 'failed',
      fix: listening.hint,
      message: listening.message,
    });
    expect(found.of.target).toMatchObject({
      state: 'failed',
      message: text(API_HOST),
      fix: expect.stringContaining(`add ${API_HOST} to NO_PROXY.`),
    });
  });

  it.concurrent('a silent proxy is reported by doctor within its time', async () => {
    const silent = createHttpServer();
    silent.on('connect', (_, socket) => {
      endings.push(() => socket.destroy());
    });
    const { authority, close } = await listen(silent);
    endings.push(close);
    const found = await examineWith(
      await createMachine('a'),
      { ...envToProxy, HTTPS_PROXY: `http://${authority}` },
      `https://${API_HOST}/`,
    );
    const text = `The proxy ${authority}, from HTTPS_PROXY, did not respond within 4 s.`;
    expect(found.of.relay?.message).toContain(text);
    expect(found.of.target?.message).toContain(text);
  });

  it.concurrent.each([
    ['socks5://ann:h%40rse@proxy.corp:1080', 'names a socks5:// proxy at proxy.corp:1080'],
    ['http://ann:h%40rse@proxy.corp:x', 'is not the URL of a proxy.'],
    ['"http://ann:h%40rse@proxy.corp:3128"', 'has quotes around it'],
    ['http://ann:h%40rse@proxy.corp:3128\r', 'ends with a carriage return'],
    ['  ', 'contains only spaces'],
    ['~/proxy', 'contains more than the host and port of a proxy.'],
  ])('%j is not a proxy, and is reported as a wrong variable', async (value, reason) => {
    const { listening, inviting, found } = await failuresOf({ HTTPS_PROXY: value });
    for (const error of [listening, inviting]) {
      expect(error).toMatchObject({
        code: 'usage',
        message: expect.stringContaining(`HTTPS_PROXY ${reason}`),
      });
      expect(error.hint).not.toBe('');
    }
    expect(found.of.proxy).toMatchObject({
      state: 'failed',
      message: expect.stringContaining(`HTTPS_PROXY ${reason}`),
      fix: listening.hint,
    });
    expect(found.of.relay?.state).toBe('skipped');
  });

  it.concurrent.each([999, 600, 101])('with HTTP %i behind the proxy: doctor continues', async (status) => {
    const odd = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () =>
        socket.write(`HTTP/1.1 ${status} X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`),
      );
    });
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    endings.push(() => odd.close());
    const { port } = odd.address() as { port: number };
    const through = await startProxy({ names: { [RELAY_HOST]: port, [API_HOST]: port } });
    const { NODE_EXTRA_CA_CERTS = '' } = env; // so a process of its own: the relay of this one puts its Response over Node's
    const found = await examineWith(
      await createMachine('a'),
      {
        HTTP_PROXY: `http://127.0.0.1:${through.port}`,
        AMESH_RELAY_URL: `ws://${RELAY_HOST}/ws`,
        NODE_EXTRA_CA_CERTS,
      },
      `http://${API_HOST}/`,
    );
    expect(found.stderr).toBe('');
    expect(found.of.relay?.state).toBe('failed');
    expect(found.of.target).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(/^http:\/\/api\.corp\.example\/ does not respond: /),
    });
  });

  it.concurrent('an entry of NO_PROXY that no host can match is reported by doctor', async () => {
    const found = await examineWith(await createMachine('a'), {
      ...envToProxy,
      no_proxy: 'https://relay.corp.example',
    });
    expect(found.of.proxy).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('In no_proxy no host matches "https://relay.corp.example".'),
    });
  });

  it.concurrent('connections on this machine do not use it', async () => {
    const wrong = {
      ...envToProxy,
      HTTPS_PROXY: 'socks5://x',
      HTTP_PROXY: 'socks5://x',
      AMESH_RELAY_URL: relay.url,
    };
    const found = await examineWith(await createMachine('a'), wrong);
    expect(found.of.relay?.state).toBe('ok');
    expect(found.of.proxy).toMatchObject({
      state: 'ok',
      message: 'The relay is called without a proxy (loopback).',
    });
    expect(objectOf(found).ok).toBe(true);
  });
});
