import { chmod, chown, mkdtemp, readdir, rm, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Amesh, createAmesh, type DeviceIdentity } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { createClient } from '@authmesh/sdk/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cutKeys, endDelegation } from '../../src/trust/delegations';
import { type Child, type Script, type StartOptions, toScript } from '../support/child';
import { freePort } from '../support/free-port';
import { StolenTime } from '../support/pauses';
import { workerOf } from '../support/statements';
import { otherwiseForMs, SOON } from '../support/waiting';

const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

let root: string;
let dir: string;
let caller: Amesh;
let callerIdentity: DeviceIdentity;
let serverScript: Script;
let revoker: Script;
let started: Child[];
beforeAll(async () => {
  [serverScript, revoker] = await Promise.all([
    toScript('test/trust/processes/server.ts'),
    toScript('test/trust/processes/revoker.ts'),
  ]);
});
afterAll(() => {
  serverScript.remove();
  revoker.remove();
});
beforeEach(async () => {
  started = [];
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await chmod(root, 0o755);
  dir = join(root, 'target');
  callerIdentity = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
  caller = createAmesh({ dir: join(root, 'caller'), env: {} });
});
afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  await Promise.all(started.map((child) => child.ended));
  await rm(root, { recursive: true, maxRetries: 20 });
});

async function startServer(
  port = 0,
  options: StartOptions = {},
  more: readonly string[] = [],
): Promise<{ child: Child; origin: string }> {
  const child = serverScript.start([dir, String(port), ...more], options);
  started.push(child);
  return { child, origin: `http://127.0.0.1:${await child.line('port ')}` };
}

async function makeTarget(): Promise<void> {
  await createIdentity(dir, {}, { friendlyName: 'target' });
  await trustCaller();
}

async function trustCaller(): Promise<void> {
  const { deviceId, publicKey, friendlyName } = callerIdentity;
  const { trust } = await openDevice(dir, {});
  await trust.update((list) =>
    addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 0),
  );
}

async function call(origin: string): Promise<string> {
  const response = await caller.fetch(origin);
  return `${response.status} ${await response.text()}`;
}

/** Asks again until the answer is this one. From one second after now, every answer has to be. */
async function expectSoon(origin: string, expected: string): Promise<void> {
  const isExpected = async () => (await call(origin)) === expected;
  const pids = started.map(({ pid }) => pid);
  expect(await otherwiseForMs(isExpected, pids)).toBeLessThan(1000);
}

describe('a server that is running', () => {
  it('refuses a device within a second of its revocation by another process', async () => {
    await makeTarget();
    const { child, origin } = await startServer();
    let since: { revokedAt: number; stolen: StolenTime } | undefined;
    let lateMs = 0;
    let accepted = 0;
    let refused = 0;
    let isOver = false;
    const calling = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!isOver) {
          // When it was asked: a busy machine makes answers late.
          const askedMs = since && performance.now() - since.revokedAt - since.stolen.ms;
          const answer = await call(origin);
          if (answer === '200 passed') {
            accepted++;
            lateMs = Math.max(lateMs, askedMs ?? 0);
          } else {
            expect(answer).toBe('401 {"error":"unauthorized"}');
            refused++;
          }
          await sleep(1);
        }
      }),
    );
    await vi.waitUntil(() => accepted > 10, SOON);
    const revoking = revoker.start([dir, callerIdentity.deviceId]);
    await revoking.line('revoked ');
    const stolen = new StolenTime(child.pid);
    since = { revokedAt: performance.now(), stolen };
    await sleep(2000);
    await vi.waitUntil(() => refused > 10, SOON);
    isOver = true;
    await calling;
    stolen.stop();
    expect(lateMs).toBeLessThan(1000);
  });

  it('refuses at the first request after a long pause', async () => {
    await makeTarget();
    const { origin } = await startServer();
    expect(await call(origin)).toBe('200 passed');
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => revokeDevice(list, callerIdentity.deviceId, 0));
    await sleep(1000);
    expect(await call(origin)).toBe('401 {"error":"unauthorized"}');
  });

  it('accepts a device that another process has added', async () => {
    await createIdentity(dir, {}, { friendlyName: 'target' });
    const { origin } = await startServer();
    expect(await call(origin)).toBe('401 {"error":"unauthorized"}');
    await trustCaller();
    await expectSoon(origin, '200 passed');
  });

  it('finds an identity that is made after its start', async () => {
    const { origin } = await startServer();
    expect(await call(origin)).toBe('503 {"error":"allow_list_unavailable"}');
    await makeTarget();
    await expectSoon(origin, '200 passed');
  });
});

describe('a delegate', () => {
  it.each(['alone', 'with its device', 'by a cut'])(
    'is refused by four processes within a second after it was revoked %s',
    async (how) => {
      await makeTarget();
      const [target, lender] = await Promise.all([openDevice(dir, {}), openDevice(join(root, 'caller'), {})]);
      const name = { scopes: ['orders:read'], targets: [target.identity.deviceId] };
      const nowSeconds = Math.floor(Date.now() / 1000);
      const lend = (agent: string) =>
        workerOf(
          {
            deviceId: lender.identity.deviceId,
            issuedAt: nowSeconds - 300,
            expiresAt: nowSeconds + 3600,
            delegation: { name: agent, ...name },
          },
          lender.signer,
        );
      const [agent, other] = [await lend('agent'), await lend('other')];
      const servers = await Promise.all([1, 2, 3, 4].map(() => startServer(0, {}, ['delegates'])));
      const ask = async ({ signer }: typeof agent, origin: string) =>
        (await createClient({ signer }).fetch(origin)).status;
      for (const { origin } of servers) expect(await ask(agent, origin)).toBe(200);

      await target.trust.update(async (draft) => {
        if (how === 'alone') endDelegation(draft, agent.claims.id, nowSeconds);
        if (how === 'with its device') await revokeDevice(draft, lender.identity.deviceId, nowSeconds);
        if (how === 'by a cut') await cutKeys(draft, lender.identity.deviceId, nowSeconds);
      });
      const late = servers.map(({ child, origin }) =>
        otherwiseForMs(async () => (await ask(agent, origin)) === 401, [child.pid]),
      );
      for (const ms of await Promise.all(late)) expect(ms).toBeLessThan(1000);
      for (const { origin } of servers) {
        expect(await ask(other, origin)).toBe(how === 'alone' ? 200 : 401);
        expect(await call(origin)).toBe(
          how === 'with its device' ? '401 {"error":"unauthorized"}' : '200 passed',
        );
      }
      if (how !== 'with its device') return;
      await trustCaller(); // and its delegates stay away
      for (const { origin } of servers) {
        await expectSoon(origin, '200 passed');
        expect(await ask(agent, origin)).toBe(401);
      }
    },
  );

  it('is refused by an instance that says nothing about delegates', async () => {
    await makeTarget();
    const target = await openDevice(dir, {});
    const lender = await openDevice(join(root, 'caller'), {});
    const nowSeconds = Math.floor(Date.now() / 1000);
    const { signer } = await workerOf(
      {
        deviceId: lender.identity.deviceId,
        issuedAt: nowSeconds - 300,
        expiresAt: nowSeconds + 3600,
        delegation: { name: 'agent', scopes: ['*'], targets: [target.identity.deviceId] },
      },
      lender.signer,
    );
    const { origin } = await startServer();
    const response = await createClient({ signer }).fetch(origin);
    expect([response.status, await response.json()]).toEqual([403, { error: 'delegate_not_allowed' }]);
  });
});

describe('a request captured before a restart', () => {
  it('is refused after it, as it was before', async () => {
    await makeTarget();
    const port = await freePort(); // it starts again there
    const first = await startServer(port);
    let captured: RequestInit | undefined;
    const capturing = createAmesh({
      dir: join(root, 'caller'),
      env: {},
      fetch: (input, init) => {
        captured = init;
        return fetch(input, init);
      },
    });
    expect((await capturing.fetch(first.origin)).status).toBe(200);
    const replay = async () => {
      const response = await fetch(first.origin, captured);
      return `${response.status} ${await response.text()}`;
    };
    expect(await replay()).toBe('401 {"error":"unauthorized"}'); // its nonce is known

    await sleep(1100);
    first.child.kill('SIGKILL');
    await first.child.ended;
    await startServer(port);
    expect(await replay()).toBe('401 {"error":"timestamp_out_of_range"}'); // signed before the server started
    expect(await call(first.origin)).toBe('200 passed');
  });
});

describe.skipIf(!isRoot)('a server of another user', () => {
  /** Gives that user everything to read, and nothing to write. */
  async function makeReadOnly(): Promise<void> {
    await chmod(dir, 0o755);
    await chmod(join(dir, 'keys'), 0o755);
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (entry.isFile()) await chown(join(entry.parentPath, entry.name), NOBODY, NOBODY);
    }
  }

  it('works in a folder that it cannot write', async () => {
    await makeTarget();
    await unlink(join(dir, 'seen.json'));
    await makeReadOnly();
    const { child, origin } = await startServer(0, { uid: NOBODY });
    expect(await call(origin)).toBe('200 passed');
    const before = child.stderr();
    await sleep(1500); // when it was last seen cannot be written down, either
    expect(await call(origin)).toBe('200 passed');
    expect(child.stderr()).toBe(before);
    const files = await readdir(dir);
    expect(files).not.toContain('seen.json');
    expect(files).not.toContain('last_seen.txt');
  });

  it('can still read what root has changed', async () => {
    await makeTarget();
    await makeReadOnly();
    const { origin } = await startServer(0, { uid: NOBODY });
    expect(await call(origin)).toBe('200 passed');
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => revokeDevice(list, callerIdentity.deviceId, 0));
    await expectSoon(origin, '401 {"error":"unauthorized"}');
  });

  it.each([
    ['folder', '.'],
    ['list', 'allow_list.json'],
    ['identity', 'identity.json'],
    ['seen.json', 'seen.json'],
  ])('says 503 and not 500 if the %s cannot be read, until it can', async (_, name) => {
    await makeTarget();
    await makeReadOnly();
    const path = join(dir, name);
    await chown(path, 0, 0);
    await chmod(path, 0o600);
    const { child, origin } = await startServer(0, { uid: NOBODY });
    expect(await call(origin)).toBe('503 {"error":"allow_list_unavailable"}');
    expect(child.stderr()).toMatch(
      /refused 503 allow_list_unavailable: .* cannot be read \(EACCES\)\. Check/,
    );
    await chmod(path, name === '.' ? 0o755 : 0o644);
    await expectSoon(origin, '200 passed');
  });
});
