import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import {
  acceptSuccessor,
  addDevice,
  createIdentity,
  type Device,
  type DeviceIdentity,
  finishRotation,
  openDevice,
  readIdentity,
  readRotationFile,
  rotateKey,
} from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toBase64Url } from '../../src/core/encoding';
import { readRotation, signRotation } from '../../src/core/rotation/rotation';
import { proposeSuccessor } from '../../src/trust/rotation/successor';
import { type Script, toScript } from '../support/child';
import { useEndingInstances } from '../support/ending-instances';
import { times } from '../support/full';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { type Key, newKey, requestOf } from '../support/rotating';

/** How many steps of each part are tried, the last ones: there it changes things. */
const STEPS = times(2, 8);
const KILL_AT_STEP = new URL('../trust/processes/kill-at-step.mjs', import.meta.url).href;
const AUTHORITY = 'api.example.com';
const now = () => Math.floor(Date.now() / 1000);
/** A process that begins now takes no request from before. */
const soon = () => now() + 10;

describeWithRedis('kill -9 at each step, if Redis has the list', { timeout: 240_000 }, () => {
  let redis: RedisServer;
  let script: Script;
  let root = '';
  let dir = '';
  let env: { AMESH_STORE_URL: string };
  let first: DeviceIdentity;
  let caller: Key;

  beforeAll(async () => {
    redis = await startRedis();
    script = await toScript('test/rotation/processes/step.ts');
    root = await mkdtemp(join(tmpdir(), 'amesh-kill-'));
    dir = join(root, 'api');
    env = { AMESH_STORE_URL: redis.url };
    first = await createIdentity(dir, env, { friendlyName: 'api' });
    caller = await newKey();
    await add(caller);
  });
  afterAll(async () => {
    script?.remove();
    await redis?.stop();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  const open = (): Promise<Device> => openDevice(dir, env);
  const update: Device['trust']['update'] = async (change) => (await open()).trust.update(change);
  const add = ({ deviceId, publicKey }: Key) =>
    update((draft) =>
      addDevice(
        draft,
        {
          deviceId,
          publicKey: toBase64Url(publicKey),
          friendlyName: deviceId,
          role: 'controller',
          hosts: [],
          scopes: ['orders:read'],
        },
        now(),
      ),
    );

  /** Runs a part of a rotation, and kills it before its nth step. @returns how many steps it has, if it came to its end */
  async function part(what: string, text: string, killAt: number): Promise<number | null> {
    const child = script.start([what, text], {
      env: { AUTH_MESH_DIR: dir, ...env, KILL_AT: String(killAt) },
      preload: KILL_AT_STEP,
    });
    const { code, signal } = await child.ended;
    if (signal === 'SIGKILL') return null;
    expect(code, child.stderr()).toBe(0);
    return Number(await child.line('steps '));
  }

  /** Tries a part from its last step on, until it was killed at as many steps as the run has time for. */
  async function eachStep(what: string, prepare: () => Promise<string>, check: () => Promise<void>) {
    const endInstances = useEndingInstances();
    const count = (await part(what, await prepare(), 1e6)) as number;
    await check();
    endInstances();
    expect(count).toBeGreaterThan(1);
    for (let killAt = count - 1; killAt >= Math.max(0, count - STEPS); killAt--) {
      await part(what, await prepare(), killAt);
      await check();
      endInstances();
    }
    return count;
  }

  /** What an instance without a folder says to this key. It has read nothing before. */
  async function callAt(owners: string, key: Key) {
    const reader = createAmesh({
      dir: join(root, 'none'),
      env: { ...env, AMESH_OWNER_KEY: owners, AMESH_DEVICE_ID: first.deviceId },
      onRefusal() {},
    });
    const verdict = await verdictOf(reader, () => requestOf(key, { created: soon() }));
    return verdict.ok ? verdict.caller.scopes : verdict.kind === 'refused' ? verdict.code : verdict.kind;
  }
  async function verdictOf(amesh: Amesh, request: () => ReturnType<typeof requestOf>) {
    const verifier = amesh.verifier({ authority: AUTHORITY });
    for (;;) {
      const verdict = await verifier.verify(await request());
      if (verdict.ok || verdict.kind !== 'refused' || verdict.code !== 'allow_list_unavailable')
        return verdict;
      await sleep(50); // Redis has not answered a new instance yet
    }
  }
  const ownerNow = async () => (await readIdentity((await open()).store))?.publicKey as string;

  it('of the command that seals the list with the next key, and makes it the key of the machine', async () => {
    let owners = '';
    let nextId = '';
    const begin = async () => {
      const { waitsForOwners, rotation } = await rotateKey(dir, env);
      owners = waitsForOwners as string;
      nextId = rotation.next.deviceId;
      return '';
    };
    await eachStep('rotate', begin, async () => {
      // Whether it was killed between seal and swap, or not: the instances go on, and so does the command.
      expect(await callAt(owners, caller)).toEqual(['orders:read']);
      const { identity } = await rotateKey(dir, env, { haveInstancesBoth: async () => true });
      expect(identity.deviceId).toBe(nextId);
      expect((await (await open()).trust.readHead()).ownerId).toBe(nextId);
      expect(await callAt(owners, caller)).toEqual(['orders:read']);
      await finishRotation(await open(), env, { force: true });
      expect(await callAt(await ownerNow(), caller)).toEqual(['orders:read']);
    });
  });

  it('of the target that accepts the next key of a caller', async () => {
    let former: Key;
    let next: Key;
    const request = async () => {
      const targetId = (await readIdentity((await open()).store))?.deviceId as string;
      const rotation = await signRotation({ former, next, targetId, nowMs: Date.now() });
      return requestOf(former, { rotation, created: soon() });
    };
    const prepare = async () => {
      [former, next] = [await newKey(), await newKey()];
      await add(former);
      return JSON.stringify(await request());
    };
    await eachStep('target', prepare, async () => {
      expect(await callAt(await ownerNow(), former)).toEqual(['orders:read']);
      const other = createAmesh({ dir, env, acceptRotation: 'auto', onRefusal() {} });
      const verdict = await verdictOf(other, request);
      expect(verdict).toMatchObject({ ok: true, headers: { 'authmesh-rotation': 'accepted' } });
      for (const key of [former, next]) expect(await callAt(await ownerNow(), key)).toEqual(['orders:read']);
    });
  });

  it('of the command that accepts it', async () => {
    let former: Key;
    let next: Key;
    const prepare = async () => {
      [former, next] = [await newKey(), await newKey()];
      await add(former);
      const targetId = (await readIdentity((await open()).store))?.deviceId as string;
      const text = await signRotation({ former, next, targetId, nowMs: Date.now() });
      const rotation = await readRotation(text, nodeCrypto);
      if (rotation === null) throw new Error('This is no statement.');
      const policy = { accept: 'admin', isWorkingKey: () => false, nowSeconds: now() } as const;
      await update((draft) => proposeSuccessor(draft, rotation, policy));
      return next.deviceId;
    };
    await eachStep('accept', prepare, async () => {
      await update((draft) => acceptSuccessor(draft, next.deviceId, now())).catch((error) =>
        expect(error).toMatchObject({ code: 'no_rotation' }),
      );
      for (const key of [former, next]) expect(await callAt(await ownerNow(), key)).toEqual(['orders:read']);
    });
  });

  describe('of a caller', () => {
    let server: Server;
    let url = '';
    let target: Device;
    beforeAll(async () => {
      const folder = join(root, 'orders');
      const { deviceId, publicKey } = await createIdentity(folder, {}, { friendlyName: 'orders' });
      target = await openDevice(folder, {});
      const verify = createAmesh({ dir: folder, env: {}, acceptRotation: 'auto', onRefusal() {} }).verify();
      server = createServer((request, response) =>
        verify(request as never, response as never, () => response.end('in')),
      );
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      url = `http://${host}/`;
      const own = await open();
      await target.trust.update((draft) =>
        addDevice(draft, { ...own.identity, role: 'controller', hosts: [] }, now()),
      );
      await own.trust.update((draft) =>
        addDevice(
          draft,
          { deviceId, publicKey, friendlyName: 'orders', role: 'target', hosts: [host] },
          now(),
        ),
      );
    });
    afterAll(() => {
      server?.close();
      server?.closeAllConnections();
    });

    it('that tells its target the next key, and writes down the answer', async () => {
      const prepare = async () => {
        await rotateKey(dir, env, { haveInstancesBoth: async () => true });
        return url;
      };
      const call = async (amesh: Amesh): Promise<number> => {
        for (;;)
          try {
            return (await amesh.fetch(url)).status;
          } catch (error) {
            expect(error).toMatchObject({ code: 'allow_list_unavailable' }); // Redis has not answered a new instance yet
            await sleep(50);
          }
      };
      const told = async () =>
        (await readRotationFile((await open()).store))?.targets[target.identity.deviceId];
      await eachStep('caller', prepare, async () => {
        const amesh = createAmesh({ dir, env });
        expect(await call(amesh)).toBe(200);
        await expect.poll(told).toMatchObject({ state: 'accepted', isProven: true });
        expect(await call(amesh)).toBe(200);
        await finishRotation(await open(), env);
        expect(await call(createAmesh({ dir, env }))).toBe(200);
      });
    });
  });
});
