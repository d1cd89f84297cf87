import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';
import { findRuntime } from '../support/runtimes';
import { Client, pair } from './client';
import { BIN, type RelayProcess, startProcess } from './process';

beforeAll(ensureBuilt, 180_000);

const started: RelayProcess[] = [];
afterEach(() => {
  for (const { child } of started.splice(0)) child.kill('SIGKILL');
});

async function start(command: string, env: Record<string, string> = {}): Promise<RelayProcess> {
  const relay = await startProcess(command, env);
  started.push(relay);
  return relay;
}

async function run(args: readonly string[]) {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { PORT: '0', HOST: '127.0.0.1' },
    timeout: 20_000,
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { code, stdout, stderr };
}

const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n`;

const bun = await findRuntime('bun');

const bunPath =
  bun.version === null ? '' : (await bun.run(`${import.meta.dirname}/exec-path.mjs`, [], {})).stdout.trim();

describe.each(['node', 'bun'])('amesh-relay on %s', (runtime) => {
  if (runtime === 'bun' && bun.version === null && process.env.CI)
    it('is here', () => expect.fail('bun is a development package and has to run in CI.'));

  describe.skipIf(runtime === 'bun' && bun.version === null)('', () => {
    const command = runtime === 'node' ? process.execPath : bunPath;

    it('pairs, refuses what is wrong, and applies its limits', async () => {
      const { port } = await start(command, { AMESH_TRUSTED_PROXIES: '1' });
      const [t, c] = await pair(port);
      t.send({ type: 'msg', body: 'é\u0000' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'é\u0000' });
      c.send(Buffer.from('{"type":"bye"}'));
      expect(await c.next()).toEqual({ type: 'error', code: 'bad_message' });
      expect(await t.next()).toEqual({ type: 'peer_gone' });
      expect(await Promise.all([t.closed, c.closed])).toEqual([1000, 1000]);
      await expect(Client.open(port, { headers: { origin: 'https://a.example' } })).rejects.toThrow('403');

      const big = (await Client.open(port)).send('a'.repeat(70_000));
      await big.closed;
      const got = [];
      for (let i = 0; i < 11; i++) {
        const client = await Client.open(port, { headers: { 'x-forwarded-for': `10.0.0.${i}, 192.0.2.1` } });
        got.push((await client.send({ type: 'listen', v: 1 }).next())?.type);
        await client.end();
      }
      expect(got).toEqual([...Array(10).fill('listening'), 'error']);
    });

    it('leaves a WebSocket open for longer than a connection may take to become one', async () => {
      const { port } = await start(command);
      const [t, c] = await pair(port);
      await sleep(5500);
      t.send({ type: 'msg', body: 'still here' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'still here' });
    });

    it('survives connections that are reset while it answers', async () => {
      const { port, child } = await start(command);
      for (const upgrade of ['', 'Connection: Upgrade\r\nUpgrade: h2c\r\n', UPGRADE])
        for (const path of ['/health', '/ws', '/other'])
          for (const answered of [false, true]) {
            const socket = connect(port, '127.0.0.1');
            socket.on('error', () => {});
            await once(socket, 'connect');
            socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n`);
            await (answered ? Promise.race([once(socket, 'data'), once(socket, 'close')]) : sleep(20));
            socket.resetAndDestroy();
          }
      const [t, c] = await pair(port);
      t.send({ type: 'msg', body: 'still here' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'still here' });
      expect(child.exitCode).toBe(null);
    });

    it('survives an upgrade in one packet with requests that are not answered yet', async () => {
      const { port, child } = await start(command);
      const plain = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n';
      for (const upgrade of ['Connection: Upgrade\r\nUpgrade: h2c\r\n', UPGRADE])
        for (const count of [1, 2, 5]) {
          const socket = connect(port, '127.0.0.1');
          socket.on('error', () => {}).resume();
          socket.write(`${plain.repeat(count)}GET /other HTTP/1.1\r\nHost: a\r\n${upgrade}\r\n`);
          await once(socket, 'close');
        }
      expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
      expect(child.exitCode).toBe(null);
    });

    it('on SIGTERM lets the session end, sends draining to new clients, and exits with 0', async () => {
      const { port, child, log, ended } = await start(command);
      const [t, c] = await pair(port);
      child.kill('SIGTERM');
      await expect
        .poll(async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status, { timeout: 5000 })
        .toBe(503);
      const late = (await Client.open(port)).send({ type: 'listen', v: 1 });
      expect(await late.next()).toEqual({ type: 'error', code: 'draining' });
      t.send({ type: 'msg', body: 'still' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'still' });
      c.send({ type: 'bye' });
      expect(await t.next()).toEqual({ type: 'peer_gone' });
      expect((await ended).code).toBe(0);
      expect(log.at(-1)).toMatchObject({ event: 'stopped' });
    });
  });
});

describe('amesh-relay says what is wrong, and exits', () => {
  it.each([
    [{ PORT: 'x' }, 2, 'PORT must be a number from 0 to 65535, not "x".'],
    [{ PORT: '65536' }, 2, 'PORT must be a number from 0 to 65535, not "65536".'],
    [
      { AMESH_TRUSTED_PROXIES: 'yes' },
      2,
      'AMESH_TRUSTED_PROXIES: "yes" is not a network such as 10.0.0.0/8 or fd00::/8.',
    ],
    [{ HOST: '192.0.2.1' }, 1, 'EADDRNOTAVAIL'],
    [{ HOST: '~/x' }, 2, 'HOST must be an address of this machine, such as 127.0.0.1 or ::1'],
    [{ HOST: 'http://127.0.0.1' }, 2, 'HOST must be an address of this machine'],
    [{ HOST: '127.0.0.1:3001' }, 2, 'HOST must be an address of this machine'],
    [{ HOST: '[127.0.0.1' }, 2, 'HOST must be an address of this machine'],
    [{ HOST: '$HOST' }, 2, 'HOST must be an address of this machine'],
    [{ HOST: '"::1"' }, 2, 'HOST has quotes around it'],
    [{ HOST: '::1\r' }, 2, 'HOST ends with a carriage return'],
    [{ HOST: ' ' }, 2, 'HOST contains only spaces'],
    [{ REDIS_URL: '127.0.0.1:6379' }, 2, 'REDIS_URL must be a URL such as redis://127.0.0.1:6379'],
    [{ REDIS_URL: '' }, 2, 'REDIS_URL must be a URL such as redis://127.0.0.1:6379'],
  ])('%j', async (env, code, message) => {
    const { ended } = await start(process.execPath, env);
    const end = await ended;
    expect(end.code).toBe(code);
    expect(end.stderr).toContain(`amesh-relay: `);
    expect(end.stderr).toContain(message);
  });
});

describe('amesh-relay accepts no arguments', () => {
  it.each([['--port', '3002'], ['start'], ['--help', 'x'], ['-p']])('%s %s', async (...args) => {
    const ran = await run(args);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toBe(
      'amesh-relay: takes no arguments, only variables such as PORT. See: amesh-relay --help\n',
    );
  });

  it('except those that explain it', async () => {
    const { version } = JSON.parse(
      await readFile(new URL('../../relay/package.json', import.meta.url), 'utf8'),
    );
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    const help = await run(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const name of ['PORT', 'HOST', 'AMESH_TRUSTED_PROXIES', 'AMESH_RELAY_LIMITS', 'REDIS_URL'])
      expect(help.stdout).toContain(`\n  ${name} `);
    expect(await run(['-h'])).toEqual(help);
  });
});
