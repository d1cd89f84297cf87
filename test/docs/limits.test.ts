import { copyFile, cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addDevice, createIdentity, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { createVerifier, InMemoryNonceStore, type Refusal, type RequestView } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NOW, signed } from '../support/core';
import { documentOf } from '../support/list-document';
import { vectorAllowList } from '../support/vectors';

// The gaps that the documents admit. If one is closed, a test here fails, and the page has to change.

const processAt = (now: () => number, startedAt?: number, onRefusal?: (refusal: Refusal) => void) =>
  createVerifier({
    allowList: { ...vectorAllowList, hosts: ['api.example.com'] },
    now,
    onRefusal,
    nonceStore: new InMemoryNonceStore({ now, ...(startedAt === undefined ? {} : { startedAt }) }),
  });

/** The same request out of another connection. */
const replay = (request: RequestView): RequestView => ({ ...request });

describe('docs/protocol.md, "What clocks and restarts leave open"', () => {
  it('a restart within the second in which the request was created', async () => {
    const request = await signed();
    const now = () => NOW * 1000 + 500;
    expect(await processAt(now).verify(request)).toMatchObject({ ok: true });
    expect(await processAt(now).verify(replay(request))).toMatchObject({ ok: true });
    const later = processAt(() => NOW * 1000 + 1000);
    expect(await later.verify(replay(request))).toMatchObject({ ok: false, code: 'timestamp_out_of_range' });
  });

  it("a restart while the caller's clock is ahead", async () => {
    const request = await signed({}, { created: NOW + 20 });
    expect(await processAt(() => NOW * 1000).verify(request)).toMatchObject({ ok: true });
    expect(await processAt(() => (NOW + 19) * 1000).verify(replay(request))).toMatchObject({ ok: true });
  });

  it('a restart after the clock was set back', async () => {
    const request = await signed();
    expect(await processAt(() => NOW * 1000, NOW - 60).verify(request)).toMatchObject({ ok: true });
    expect(await processAt(() => (NOW - 5) * 1000).verify(replay(request))).toMatchObject({ ok: true });
  });

  it('but not a clock that runs ahead for a while and is set back', async () => {
    let nowMs = NOW * 1000;
    const running = processAt(() => nowMs, NOW - 60);
    const request = await signed();
    expect(await running.verify(request)).toMatchObject({ ok: true });
    for (const ahead of [3600, 3611]) {
      nowMs = (NOW + ahead) * 1000;
      expect(await running.verify(await signed({}, { created: NOW + ahead }))).toMatchObject({ ok: true });
    }
    nowMs = (NOW + 15) * 1000;
    expect(await running.verify(replay(request))).toMatchObject({
      ok: false,
      code: 'nonce_store_unavailable',
    });
  });
});

describe('docs/protocol.md, "A clock that was set back"', () => {
  it('a server that started at a time in the future says until when, and that a restart ends it', async () => {
    const refusals: Refusal[] = [];
    const running = processAt(
      () => NOW * 1000,
      NOW + 3600,
      (refusal) => void refusals.push(refusal),
    );
    expect(await running.verify(await signed())).toMatchObject({ ok: false, code: 'timestamp_out_of_range' });
    expect(refusals).toMatchObject([
      {
        detail: `The request was signed before the time that this server's nonce store remembers, which starts at ${new Date((NOW + 3600) * 1000).toISOString()}.`,
        fix: 'The clock of this server was set back: wait until then, or restart it.',
      },
    ]);
    expect(await processAt(() => NOW * 1000).verify(await signed())).toMatchObject({ ok: true });
  });

  it('after a restart, what lies ahead of the new clock is refused, and accepted once more when its time comes', async () => {
    const request = await signed({}, { created: NOW + 3600 });
    expect(await processAt(() => (NOW + 3600) * 1000).verify(request)).toMatchObject({ ok: true });
    let nowMs = NOW * 1000;
    const restarted = processAt(() => nowMs);
    expect(await restarted.verify(replay(request))).toMatchObject({
      ok: false,
      code: 'timestamp_out_of_range',
    });
    nowMs = (NOW + 3600) * 1000;
    expect(await restarted.verify(replay(request))).toMatchObject({ ok: true });
  });

  it('a second restart when the old time has come again refuses it forever', async () => {
    const request = await signed({}, { created: NOW + 3600 });
    const again = processAt(() => (NOW + 3601) * 1000);
    expect(await again.verify(replay(request))).toMatchObject({ ok: false, code: 'timestamp_out_of_range' });
  });
});

describe('docs/security.md, older copies', () => {
  let root: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-restore-'));
  });
  afterAll(() => rm(root, { recursive: true, maxRetries: 20 }));

  it('an old list alone is refused, an old folder as a whole is not', async () => {
    const [caller, server, backup] = [join(root, 'caller'), join(root, 'server'), join(root, 'backup')];
    const peer = await createIdentity(caller, {}, { friendlyName: 'laptop' });
    await createIdentity(server, {}, { friendlyName: 'orders-api' });
    const { trust } = await openDevice(server, {});
    await trust.update((list) => addDevice(list, { ...peer, role: 'controller', hosts: [] }, 0));
    await cp(server, backup, { recursive: true });
    await trust.update((list) => revokeDevice(list, peer.deviceId, 0));

    await copyFile(join(backup, 'allow_list.json'), join(server, 'allow_list.json'));
    await expect((await openDevice(server, {})).trust.read()).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
      message: expect.stringContaining('an older copy'),
    });
    await copyFile(join(backup, 'seen.json'), join(server, 'seen.json'));
    const restored = await documentOf((await openDevice(server, {})).trust);
    expect(restored.devices.map(({ friendlyName }) => friendlyName)).toEqual(['laptop']);
  });
});
