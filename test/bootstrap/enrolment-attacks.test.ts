import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  closeGrant,
  createIdentity,
  type Grant,
  issueGrant,
  type ListHead,
  openDevice,
} from '@authmesh/sdk/admin';
import { AmeshError, CODES, InMemoryNonceStore, type NonceStore } from '@authmesh/sdk/core';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ListDraft } from '../../src/trust/format/draft';
import { renewLeases } from '../../src/trust/grants';
import { toScript } from '../support/child';
import { ENROLMENT_PATH, forgeEnrolment, sendEnrolment } from '../support/enrolling';
import { emptyHead, newDevice } from '../support/list-document';
import { head as headOf, RawClient } from '../support/raw-http';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { useEnrolling } from '../support/use-enrolling';

const enrolling = useEnrolling();

const now = () => Math.floor(Date.now() / 1000);

describe('a client that sends the body late', () => {
  it('does not extend the time for which an enrolment is accepted', async () => {
    const target = await enrolling.target({ enroll: true, clockSkewSeconds: 1 });
    const { token } = await target.grant();
    const client = await RawClient.connect(target.port);
    const body = await forgeEnrolment(token, target.authority);
    const length = `Content-Length: ${body.length}`;
    client.write(headOf(`POST ${ENROLMENT_PATH} HTTP/1.1`, [`Host: ${target.authority}`, length]));
    await sleep(2100);
    const { status } = await client.write(body).response();
    client.destroy();
    expect([status, target.refusals.at(-1)?.code]).toEqual([401, 'timestamp_out_of_range']);
    expect((await target.list()).devices).toEqual([]);
  });
});

describe('a nonce store', () => {
  it('that loses its memory during a claim accepts no enrolment from before', async () => {
    const memory = { startedAt: now() - 100 };
    const forgetful: NonceStore = {
      get startedAt() {
        return memory.startedAt;
      },
      async claim() {
        memory.startedAt = now() + 2; // as Redis does where it was started anew
        return true;
      },
    };
    const target = await enrolling.target({ enroll: true, nonceStore: forgetful });
    const { token } = await target.grant();
    const response = await sendEnrolment(target.origin, await forgeEnrolment(token, target.authority));
    expect([response.status, target.refusals.at(-1)?.code]).toEqual([401, 'timestamp_out_of_range']);
    expect((await target.list()).devices).toEqual([]);
  });

  it.each(['used up', 'closed'])('is not filled by who holds a grant that is %s', async (state) => {
    const nonceStore = new InMemoryNonceStore({ capacity: 20 });
    const target = await enrolling.target({ enroll: true, nonceStore });
    const { token, id } = await target.grant({ uses: state === 'closed' ? 100 : 1 });
    const caller = enrolling.caller(token);
    expect((await caller.fetch(target.origin)).status).toBe(200);
    if (state === 'closed') await target.device.trust.update((list) => closeGrant(list, id, now()));
    await sleep(300); // the server looks at its list at most so late
    const before = await target.list();
    for (let each = 0; each < 30; each++) {
      const response = await sendEnrolment(target.origin, await forgeEnrolment(token, target.authority));
      const error = state === 'closed' ? 'grant_expired' : 'grant_used_up';
      expect([response.status, await response.json()]).toEqual([403, { error }]);
    }
    expect((await caller.fetch(target.origin)).status).toBe(200);
    expect(await target.list()).toEqual(before);
    expect(before.grants).toMatchObject([{ id, used: 1 }]);
  });
});

describeWithRedis('strangers, if the list lies in Redis', () => {
  let root: string;
  let redis: RedisServer;
  let client: Redis;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    redis = await startRedis();
    client = new Redis(redis.url);
  });
  afterAll(async () => {
    client?.disconnect();
    await redis.stop();
    await rm(root, { recursive: true, maxRetries: 10 });
  });

  /** How often Redis was asked for something. */
  const reads = async () =>
    Number(/cmdstat_hstrlen:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]);

  const target = () =>
    enrolling.target(
      { enroll: true, nonceStore: new InMemoryNonceStore() },
      { env: { AMESH_STORE_URL: redis.url }, pollSeconds: 60 },
    );

  it.each([
    [
      'by invalid grants',
      () => ({ grant: Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url') }),
    ],
    ['by an unknown grant', () => ({ grant: 'A'.repeat(22) })],
  ])('enrolments %s do not make the server read its list for each of them', async (_what, change) => {
    const api = await target();
    const { token } = await api.grant();
    expect((await enrolling.caller(token).fetch(api.origin)).status).toBe(200);
    const bodies = await Promise.all(
      Array.from({ length: 100 }, () => forgeEnrolment(token, api.authority, change())),
    );
    const [before, startedAt] = [await reads(), performance.now()];
    for (let at = 0; at < bodies.length; at += 10) {
      const answers = bodies.slice(at, at + 10).map((body) => sendEnrolment(api.origin, body));
      for (const { status } of await Promise.all(answers)) expect(status).toBe(401);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    expect((await reads()) - before).toBeLessThanOrEqual(5 * seconds + 5);
  });

  it.each<[string, (authority: string) => Record<string, unknown>]>([
    ['for another target', () => ({ target: 'am_AAAAAAAAAAAAAAAA' })],
    ['for another host', () => ({ authority: 'api.example.com' })],
    ['that are too old', () => ({ time: now() - 60 })],
  ])('enrolments %s do not make the server read its list at all', async (_what, change) => {
    const api = await target();
    const { token } = await api.grant();
    expect((await enrolling.caller(token).fetch(api.origin)).status).toBe(200);
    const before = await reads();
    const SENT = 10;
    for (let each = 0; each < SENT; each++) {
      const facts = { grant: 'A'.repeat(22), ...change(api.authority) };
      expect(
        (await sendEnrolment(api.origin, await forgeEnrolment(token, api.authority, facts))).status,
      ).toBe(401);
    }
    expect((await reads()) - before).toBeLessThan(SENT / 2); // what reads by time alone may read now and then
  });

  it('but a grant that was issued a moment ago is accepted immediately', async () => {
    const api = await target();
    await sendEnrolment(api.origin, 'x');
    const { token } = await api.grant();
    expect((await enrolling.caller(token).fetch(api.origin)).status).toBe(200);
  });
});

it('a list that breaks during a request with a lease does not end the server', async () => {
  const rejected: unknown[] = [];
  const note = (reason: unknown) => void rejected.push(reason);
  let meanwhile: (() => Promise<void>) | undefined;
  const memory = new InMemoryNonceStore();
  const nonceStore: NonceStore = {
    startedAt: memory.startedAt,
    async claim(...claim) {
      await meanwhile?.();
      return memory.claim(...claim);
    },
  };
  const target = await enrolling.target({ enroll: true, nonceStore });
  const caller = enrolling.caller((await target.grant()).token);
  expect((await caller.fetch(target.origin)).status).toBe(200);
  process.on('unhandledRejection', note);
  try {
    meanwhile = async () => {
      await writeFile(join(target.dir, 'allow_list.json'), 'x');
      await sleep(300); // the server looks at its list at most so late
    };
    await caller.fetch(target.origin);
    await sleep(100);
    expect(rejected).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
  }
});

it('if an enrolment cannot be written, that is a fault of the server, and the response says so', async () => {
  const script = await toScript('test/bootstrap/processes/enrolling.ts');
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const dir = join(root, 'target');
  const nobody = 65_534;
  const isRoot = process.getuid?.() === 0;
  try {
    await chmod(root, 0o755);
    await createIdentity(dir, {}, { friendlyName: 'api' });
    const device = await openDevice(dir, {});
    const { token } = await issueGrant(device, {
      names: '*',
      uses: 9,
      leaseSeconds: 60,
      maxLeaseSeconds: 60,
    });
    if (isRoot) await own(dir, nobody);
    const server = script.start([], {
      env: { AUTH_MESH_DIR: dir },
      ...(isRoot ? { uid: nobody } : {}),
    });
    const authority = `127.0.0.1:${await server.line('port ')}`;
    await chmod(dir, 0o500);
    const response = await sendEnrolment(`http://${authority}`, await forgeEnrolment(token, authority));
    expect([response.status, await response.text()]).toEqual([503, '{"error":"allow_list_unavailable"}']);
    expect(server.stderr()).toContain('503 allow_list_unavailable');
    expect(server.stderr()).toContain('cannot be written');
    server.kill('SIGKILL');
    await server.ended;
  } finally {
    await chmod(dir, 0o700);
    script.remove();
    await rm(root, { recursive: true, maxRetries: 10 });
  }
});

async function own(path: string, uid: number): Promise<void> {
  const { readdir } = await import('node:fs/promises');
  await chown(path, uid, uid);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await own(join(path, entry.name), uid);
    else await chown(join(path, entry.name), uid, uid);
  }
}

describe('leases after the clock was set back', () => {
  const lease = { grant: 'A'.repeat(22), expiresAt: 10_000, endsAt: 50_000 };
  const device = { ...newDevice(), lease };
  const grant: Grant = {
    id: lease.grant,
    publicKey: device.publicKey,
    names: '*',
    uses: 2,
    used: 1,
    leaseSeconds: 3600,
    maxLeaseSeconds: 50_000,
    issuedAt: 0,
    expiresAt: 9000,
  };
  let head: ListHead;
  beforeEach(async () => {
    head = await next(emptyHead(), async (draft) => {
      await draft.put(device);
      draft.change({ grants: [grant] });
    });
  });

  const open = (of: ListHead, nowSeconds = 0) =>
    new ListDraft(of, () => Promise.reject(new Error('A small list has no page.')), nowSeconds);

  /** The revision after a change; the same one if nothing changed. */
  async function next(of: ListHead, change: (draft: ListDraft) => Promise<void>, at = 0): Promise<ListHead> {
    const draft = open(of, at);
    await change(draft);
    return draft.isChanged ? (await draft.finish()).head : of;
  }

  const renewed = (at: number, of = head) =>
    next(of, (draft) => renewLeases(draft, new Set([device.deviceId]), at), at);
  const leaseOf = async (of: ListHead) => (await open(of).device(device.deviceId))?.lease;

  it('are neither shortened nor extended', async () => {
    for (const at of [0, 1000, 8000]) expect(await renewed(at)).toBe(head);
  });

  it('are never extended beyond their end, however often they are renewed', async () => {
    let current = head;
    for (let at = 9000; at < 50_000; at += 1000) {
      current = await renewed(at, current);
      expect((await leaseOf(current))?.expiresAt).toBeLessThanOrEqual(lease.endsAt);
    }
    expect(await leaseOf(current)).toEqual({ ...lease, expiresAt: lease.endsAt });
    expect(await renewed(50_001, current)).toBe(current);
  });

  it('are renewed if their grant is closed, but not if it is gone', async () => {
    expect(await leaseOf(await renewed(9500))).toEqual({ ...lease, expiresAt: 13_100 });
    const gone = await next(head, async (draft) => draft.change({ grants: [] }));
    expect(await renewed(9500, gone)).toBe(gone);
  });

  it('that have ended are not renewed by use', async () => {
    expect(await renewed(10_001)).toBe(head);
  });
});

it('the caller gets 503 if a nonce store fails with a code that is not for clients', async () => {
  const nonceStore: NonceStore = {
    startedAt: 0,
    claim: () => Promise.reject(new AmeshError(CODES.store_busy)),
  };
  const target = await enrolling.target({ enroll: true, nonceStore });
  const { token } = await target.grant();
  const response = await sendEnrolment(target.origin, await forgeEnrolment(token, target.authority));
  expect([response.status, await response.json()]).toMatchObject([503, { error: 'nonce_store_unavailable' }]);
  expect(target.refusals).toMatchObject([{ code: 'nonce_store_unavailable' }]);
});
