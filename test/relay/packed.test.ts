import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { type PackedRelay, packRelay } from '../support/packed-relay';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { findRuntime } from '../support/runtimes';
import { Client } from './client';
import { type RelayProcess, startProcess } from './process';

const bun = await findRuntime('bun');
const hasBun = bun.version !== null || process.env.CI !== undefined;
const COMMANDS = { npx: ['npx', '--no-install'], bunx: ['./bunx', '--bun'] } as const;
const HOW = hasBun ? (['npx', 'bunx'] as const) : (['npx'] as const);

describe('the packed relay, installed in an empty folder', () => {
  let packed: PackedRelay;
  beforeAll(async () => {
    packed = await packRelay();
    await packed.install(packed.tarball);
    const { stdout } = await bun.run(`${import.meta.dirname}/exec-path.mjs`, [], {});
    await symlink(stdout.trim(), join(packed.dir, 'bunx')); // which Bun is goes by its name
  }, 240_000);
  afterAll(() => packed?.remove());

  const started: RelayProcess[] = [];
  afterEach(async () => {
    // Their group, since a command may stand between.
    for (const { child, ended } of started.splice(0)) {
      if (child.exitCode !== null) continue;
      process.kill(-(child.pid as number), 'SIGKILL');
      await ended;
    }
  });

  async function start(how: keyof typeof COMMANDS, env: Record<string, string> = {}): Promise<RelayProcess> {
    const { PATH = '', HOME = '' } = process.env;
    const command = [...COMMANDS[how], '@authmesh/relay'] as const;
    const options = { cwd: packed.dir, detached: true };
    const relay = await startProcess(command, { PATH, HOME, ...env }, options);
    started.push(relay);
    return relay;
  }

  it.each(HOW)('%s starts it as PORT and HOST say', async (how) => {
    const { port } = await start(how, { HOST: '127.0.0.2' });
    expect(port).toBeGreaterThan(0);
    const health = await fetch(`http://127.0.0.2:${port}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }]);
    const client = await Client.open(port, { host: '127.0.0.2' });
    expect(await client.listen()).toMatch(/^[1-9]\d{5}$/);
    await expect(Client.open(port, { host: '127.0.0.3' })).rejects.toThrow('ECONNREFUSED');
  });

  it.each(HOW)('%s with REDIS_URL and without ioredis says what to install', async (how) => {
    const { ended } = await start(how, { REDIS_URL: 'redis://user:hunter2@127.0.0.1:6379' });
    const { code, stderr } = await ended;
    expect(code).toBe(1);
    expect(stderr).toContain('amesh-relay: Redis needs the package ioredis: npm install ioredis\n');
    expect(stderr).not.toContain('hunter2');
  });

  describeWithRedis('with Redis', () => {
    async function startWithPackage(): Promise<RedisServer> {
      await packed.install(`ioredis@${manifest.devDependencies.ioredis}`);
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      return redis;
    }

    it.skipIf(!hasBun)('one on Node and one on Bun work as one', async () => {
      const env = { REDIS_URL: (await startWithPackage()).url };
      const [node, bun] = await Promise.all([start('npx', env), start('bunx', env)]);
      for (const [a, b] of [
        [node, bun],
        [bun, node],
      ] as const) {
        const [t, c] = [await Client.open(a.port), await Client.open(b.port)];
        const code = await t.listen();
        c.join(code);
        expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
        c.send({ type: 'msg', body: 'é\u0000' });
        expect(await t.next()).toEqual({ type: 'msg', body: 'é\u0000' });
        const late = (await Client.open(a.port)).join(code);
        expect(await late.next()).toEqual({ type: 'error', code: 'code_used' });
        expect(await t.next()).toEqual({ type: 'error', code: 'code_used' });
        t.send({ type: 'bye' });
        expect(await c.next()).toEqual({ type: 'peer_gone' });
      }
    });

    it.skipIf(!hasBun)('Bun also notices that Redis is gone and that it is back', async () => {
      const redis = await startWithPackage();
      const { port, log } = await start('bunx', { REDIS_URL: redis.url });
      const t = await Client.open(port);
      await t.listen();
      await redis.stop();
      expect(await t.next()).toEqual({ type: 'error', code: 'unavailable' });
      await redis.restart();
      const status = async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status;
      await expect.poll(status, { timeout: 10_000 }).toBe(200);
      await (await Client.open(port)).listen();
      const outcomes = log.filter(({ event }) => event === 'redis').map(({ outcome }) => outcome);
      expect([outcomes[0], outcomes[1], outcomes.at(-1)]).toEqual(['connected', 'away', 'connected']);
    });
  });
});
