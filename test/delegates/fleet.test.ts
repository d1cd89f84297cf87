import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  createIdentity,
  type Device,
  type Env,
  endDelegation,
  issueDelegation,
  openDevice,
  revokeDevice,
} from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { otherwiseForMs } from '../support/waiting';

const now = () => Math.floor(Date.now() / 1000);

describe('four processes with one list in a folder', () => {
  refuse(async () => ({ env: {}, stop: async () => {} }));
});

describeWithRedis('four processes with one list in Redis', () => {
  refuse(async () => {
    const redis: RedisServer = await startRedis();
    return { env: { AMESH_STORE_URL: redis.url }, stop: () => redis.stop() };
  });
});

function refuse(prepare: () => Promise<{ env: Record<string, string>; stop(): Promise<void> }>): void {
  let root: string;
  let place: Awaited<ReturnType<typeof prepare>>;
  let script: Script;
  let target: Device;
  const children: Child[] = [];
  const origins: string[] = [];
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    place = await prepare();
    script = await toScript('test/delegates/processes/server.ts');
    const dir = join(root, 'target');
    await createIdentity(dir, place.env, { friendlyName: 'target' });
    target = await openDevice(dir, place.env);
    for (let i = 0; i < 4; i++)
      children.push(script.start([], { env: { AUTH_MESH_DIR: dir, ...place.env } }));
    for (const child of children) origins.push(`http://127.0.0.1:${await child.line('port ')}`);
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map(({ ended }) => ended));
    script.remove();
    await place.stop();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  const pids = () => children.map(({ pid }) => pid);

  /** A caller whom all of them trust, and two programs to which it has lent the same. */
  async function createCaller(name: string) {
    const env: Env = {};
    const identity = await createIdentity(join(root, name), env, { friendlyName: name });
    const { signer } = await openDevice(join(root, name), env);
    await target.trust.update((list) =>
      addDevice(list, { ...identity, role: 'controller', hosts: [], scopes: ['orders:read'] }, now()),
    );
    const lend = async () => {
      const targets = [target.identity.deviceId];
      const wish = { name: 'job', scopes: ['orders:*'], targets, lifetimeSeconds: 600 };
      const { text, facts } = await issueDelegation(signer, wish);
      return { id: facts.id, fetch: createAmesh({ env: { AMESH_DELEGATION: text } }).fetch };
    };
    return { identity, jobs: [await lend(), await lend()] as const };
  }

  const statusesOf = ({ fetch }: { fetch: typeof globalThis.fetch }) =>
    Promise.all(origins.map(async (origin) => (await fetch(origin)).status));
  const all = async (job: { fetch: typeof globalThis.fetch }, status: number) =>
    (await statusesOf(job)).every((each) => each === status);

  it('refuse a revoked delegate within a second, and no other one of its device', async () => {
    const { jobs } = await createCaller('first');
    const [revoked, other] = jobs;
    await otherwiseForMs(() => all(revoked, 200)); // once each knows the caller
    await target.trust.update(async (list) => void endDelegation(list, revoked.id, now()));
    expect(await otherwiseForMs(() => all(revoked, 401), pids())).toBeLessThan(1000);
    expect(await statusesOf(other)).toEqual([200, 200, 200, 200]);
  });

  it('refuse all delegates of a revoked device within a second', async () => {
    const { identity, jobs } = await createCaller('second');
    const [one, other] = jobs;
    await otherwiseForMs(() => all(one, 200));
    await target.trust.update((list) => revokeDevice(list, identity.deviceId, now()));
    expect(await otherwiseForMs(() => all(one, 401), pids())).toBeLessThan(1000);
    expect(await statusesOf(other)).toEqual([401, 401, 401, 401]);
  });
}
