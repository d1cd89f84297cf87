import { once } from 'node:events';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  addHandOver,
  createIdentity,
  type DeviceEntry,
  type DeviceIdentity,
  issueGrant,
  joinList,
  makeHandOver,
  openDevice,
  revokeDevice,
  rotateKey,
  takeOverList,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { fromBase64Url, provenBy } from '@authmesh/sdk/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { signRotation } from '../../src/core/rotation/rotation';

const DAY_MS = 86_400_000;
type Env = Record<string, string>;

/** A target at one address, whose server is replaced, and a caller that has paired with its first key. */
class Moving {
  readonly identities = new Map<string, DeviceIdentity>();
  handler: RequestListener = (_, response) => response.writeHead(503).end();

  private constructor(
    readonly root: string,
    readonly http: Server,
  ) {}

  static async create(): Promise<Moving> {
    const http = createServer((request, response) => moving.handler(request, response));
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const moving = new Moving(await mkdtemp(join(tmpdir(), 'amesh-moved-')), http);
    const caller = await moving.add('caller');
    const first = await moving.add('first');
    const target = await moving.open('first');
    await target.trust.update((draft) =>
      addDevice(draft, { ...caller, role: 'controller', hosts: [] }, nowSeconds()),
    );
    const own = await moving.open('caller');
    await own.trust.update((draft) =>
      addDevice(draft, { ...first, role: 'target', hosts: [moving.host] }, nowSeconds()),
    );
    moving.serve('first');
    return moving;
  }

  get host(): string {
    return `127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  get targetId(): string {
    return this.identity('first').deviceId;
  }

  identity(name: string): DeviceIdentity {
    return this.identities.get(name) as DeviceIdentity;
  }

  async add(name: string): Promise<DeviceIdentity> {
    const made = await createIdentity(join(this.root, name), {}, { friendlyName: name });
    this.identities.set(name, made);
    return made;
  }

  open(name: string, env: Env = {}) {
    return openDevice(join(this.root, name), env);
  }

  /** The variables of an instance whose list this key seals alone. */
  alone(name: string): Env {
    if (name === 'first') return {};
    return { AMESH_OWNER_KEY: this.identity(name).publicKey, AMESH_DEVICE_ID: this.targetId };
  }

  /** From now on, a server with this key answers. */
  serve(
    name: string,
    answer: RequestListener = (_, response) => response.end('ok'),
    dir = join(this.root, name),
  ): void {
    const amesh = createAmesh({ dir, env: this.alone(name), hosts: [this.host] });
    const verify = amesh.verify({ enroll: true });
    this.handler = (request, response) => verify(request, response, () => answer(request, response));
  }

  /** Moves the list from one key to the next one. */
  async move(from: string, to: string, { handsOver = true } = {}): Promise<void> {
    const next = await this.add(to);
    const former = await this.open(from, this.alone(from));
    const { head, pages } = await former.trust.open();
    const handOver = handsOver ? await makeHandOver(former, keyOf(next)) : undefined;
    const env = { AMESH_OWNER_KEY: `${this.identity(from).publicKey},${next.publicKey}` };
    const both = { ...env, AMESH_DEVICE_ID: this.targetId };
    const list = joinList(head, [...pages.values()]);
    await takeOverList(await this.open(to, both), both, { from: list, handOver });
  }

  caller(more: Parameters<typeof createAmesh>[0] = {}) {
    return createAmesh({ dir: join(this.root, 'caller'), env: {}, ...more });
  }

  call(): Promise<Response> {
    return this.caller().fetch(`http://${this.host}/`);
  }

  /** What the caller's list has about the target. */
  async entry(): Promise<DeviceEntry> {
    const list = await (await this.open('caller')).trust.read();
    return list.entry(this.targetId) as DeviceEntry;
  }

  async remove(): Promise<void> {
    this.http.close();
    this.http.closeAllConnections();
    await rm(this.root, { recursive: true, maxRetries: 20 });
  }
}

const nowSeconds = () => Math.floor(Date.now() / 1000);
const keyOf = ({ publicKey }: DeviceIdentity) => fromBase64Url(publicKey) as Uint8Array;
const unproven = (text: string) => ({ code: 'answer_unproven', message: expect.stringContaining(text) });

let moving: Moving;
let logged: string[];
beforeEach(async () => {
  logged = [];
  vi.spyOn(console, 'warn').mockImplementation((line) => void logged.push(String(line)));
  moving = await Moving.create();
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await moving.remove();
});

describe('a caller over http, of a target that moves to another key', () => {
  it('follows it with the first proven answer, and accepts answers of both keys in the meantime', async () => {
    await moving.move('first', 'second');
    expect(provenBy(await moving.call())?.movedTo).toBeUndefined(); // this instance is not redeployed yet
    moving.serve('second');
    const [first, second] = [moving.identity('first'), moving.identity('second')];
    const response = await moving.call();
    expect(await response.text()).toBe('ok');
    expect(provenBy(response)).toMatchObject({
      target: moving.targetId,
      movedTo: { deviceId: second.deviceId, publicKey: keyOf(second) },
    });
    const { keys = [], ...entry } = await moving.entry();
    expect(keys).toEqual([
      { deviceId: first.deviceId, publicKey: first.publicKey, until: expect.any(Number) },
      { deviceId: second.deviceId, publicKey: second.publicKey },
    ]);
    const until = keys[0]?.until as number;
    expect(Math.abs(until - nowSeconds() - 30 * 86_400)).toBeLessThan(60);
    expect(entry).toMatchObject({ deviceId: moving.targetId, hosts: [moving.host], roles: ['target'] });
    expect(logged.join()).toContain(`${moving.targetId} has moved to another key`);
    const again = await moving.call();
    expect(provenBy(again)).toEqual(expect.objectContaining({ target: moving.targetId }));
    expect(provenBy(again)?.movedTo).toBeUndefined();
    moving.serve('first');
    expect(await (await moving.call()).text()).toBe('ok');
    expect((await moving.entry()).keys).toEqual(keys);
  });

  it('accepts only answers of the next key after 30 days', async () => {
    await moving.move('first', 'second');
    moving.serve('second');
    await moving.call();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31 * DAY_MS });
    moving.serve('second'); // with that clock
    expect(await (await moving.call()).text()).toBe('ok');
    moving.serve('first');
    await expect(moving.call()).rejects.toMatchObject(unproven(`signed by ${moving.targetId}`));
  });

  it('cannot follow it if it first calls after 30 days, but still calls it over another channel', async () => {
    await moving.move('first', 'second');
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31 * DAY_MS });
    moving.serve('second');
    await expect(moving.call()).rejects.toMatchObject(unproven('is signed by'));
    const unasked = await moving.caller({ answers: 'off' }).fetch(`http://${moving.host}/`);
    expect(await unasked.text()).toBe('ok');
    expect(unasked.headers.has('authmesh-succession')).toBe(false);
  });

  it('follows it from key to key', async () => {
    for (const [from, to] of [
      ['first', 'second'],
      ['second', 'third'],
      ['third', 'fourth'],
    ] as const) {
      await moving.move(from, to);
      moving.serve(to);
      expect(await (await moving.call()).text()).toBe('ok');
    }
    const { keys = [] } = await moving.entry();
    expect(keys.map(({ deviceId }) => deviceId)).toEqual(
      ['first', 'second', 'third', 'fourth'].map((name) => moving.identity(name).deviceId),
    );
  });

  it('that paired with its second key calls it by that ID, and follows it to the third', async () => {
    await moving.move('first', 'second');
    const late = await moving.add('late');
    const owner = await moving.open('second', moving.alone('second'));
    await owner.trust.update((draft) =>
      addDevice(draft, { ...late, role: 'controller', hosts: [] }, nowSeconds()),
    );
    const own = await moving.open('late');
    const second = moving.identity('second');
    await own.trust.update((draft) =>
      addDevice(draft, { ...second, role: 'target', hosts: [moving.host] }, nowSeconds()),
    );
    await moving.move('second', 'third');
    moving.serve('third');
    const caller = moving.caller({ dir: join(moving.root, 'late') });
    expect(provenBy(await caller.fetch(`http://${moving.host}/`))).toMatchObject({
      target: second.deviceId,
      movedTo: { deviceId: moving.identity('third').deviceId },
    });
    // The first caller has missed the first move.
    await expect(moving.call()).rejects.toMatchObject(unproven(`which ${second.deviceId} has named`));
  });

  it('enrols with a grant of the first key, and its answers are proven', async () => {
    const first = await moving.open('first');
    const { token } = await issueGrant(first, {
      names: 'worker',
      hosts: [moving.host],
      uses: 1,
      leaseSeconds: 3600,
      maxLeaseSeconds: 3600,
    });
    await moving.move('first', 'second');
    moving.serve('second');
    const dir = join(moving.root, 'worker');
    const worker = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: token } });
    expect(await (await worker.fetch(`http://${moving.host}/`)).text()).toBe('ok');
    const { trust } = await openDevice(dir, {});
    const { keys } = (await trust.read()).entry(moving.targetId) ?? {};
    expect(keys?.at(-1)?.deviceId).toBe(moving.identity('second').deviceId);
  });

  it('gets no statement of another target, which a handler has passed on', async () => {
    await moving.move('first', 'second');
    moving.serve('second', (_, response) => response.setHeader('authmesh-succession', 'foreign').end('ok'));
    const response = await moving.call();
    expect(await response.text()).toBe('ok');
    expect(response.headers.get('authmesh-succession')).toMatch(/^[\w-]+\.[\w-]{86}\.[\w-]{86}$/);
  });

  it('cannot follow it without a hand-over, and can after that is added', async () => {
    await moving.move('first', 'second', { handsOver: false });
    moving.serve('second');
    const { deviceId, publicKey } = moving.identity('second');
    await expect(moving.call()).rejects.toMatchObject(unproven(`signed by ${deviceId}`));
    const line = await makeHandOver(await moving.open('first'), keyOf(moving.identity('second')));
    const env = { AMESH_OWNER_KEY: publicKey, AMESH_DEVICE_ID: moving.targetId };
    const next = await moving.open('second', env);
    expect(await addHandOver(next, line)).toMatchObject({ isChanged: true });
    expect(await addHandOver(next, line)).toMatchObject({ isChanged: false });
    moving.serve('second');
    expect(await (await moving.call()).text()).toBe('ok');
  });

  it('continues with each answer while its folder cannot be written', async () => {
    await moving.move('first', 'second');
    moving.serve('second');
    const amesh = moving.caller();
    const { trust } = await moving.open('caller');
    vi.spyOn(Object.getPrototypeOf(trust), 'update').mockRejectedValue(new Error('read-only'));
    for (let i = 0; i < 3; i++) expect(await (await amesh.fetch(`http://${moving.host}/`)).text()).toBe('ok');
    expect((await moving.entry()).keys).toBeUndefined();
    expect(logged.join().match(/could not be written to the allow list \(read-only\)/g)).toHaveLength(1);
  });

  it('finds the target by each of its IDs, and revokes it with all its keys', async () => {
    await moving.move('first', 'second');
    moving.serve('second');
    await moving.call();
    const { trust } = await moving.open('caller');
    await trust.update((draft) => revokeDevice(draft, moving.targetId, nowSeconds()));
    await expect(
      moving.caller({ answers: 'required' }).fetch(`http://${moving.host}/`),
    ).rejects.toMatchObject(unproven('does not know the key'));
  });
});

describe('a target that withdraws its rotation', () => {
  const dir = () => join(moving.root, 'first');
  /** Replaces the key of the target, or takes that back, and restarts its server. */
  async function rotated(): Promise<DeviceIdentity> {
    const { identity } = await rotateKey(dir(), {});
    moving.serve('first');
    return identity;
  }
  async function takenBack(): Promise<void> {
    await withdrawRotation(await moving.open('first'), {});
    moving.serve('first');
  }
  const keysNow = async () => (await moving.entry()).keys?.map(({ deviceId }) => deviceId);

  it('has callers that followed it back at its former key, even after 30 days', async () => {
    const next = await rotated();
    await moving.call();
    expect(await keysNow()).toEqual([moving.targetId, next.deviceId]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5000 });
    await takenBack();
    const response = await moving.call();
    expect(await response.text()).toBe('ok');
    expect(provenBy(response)?.movedTo?.deviceId).toBe(moving.targetId);
    expect(await keysNow()).toEqual([next.deviceId, moving.targetId]);
    expect(provenBy(await moving.call())?.movedTo).toBeUndefined();
    vi.setSystemTime(Date.now() + 31 * DAY_MS);
    expect(await (await moving.call()).text()).toBe('ok');
  });

  it('moves no caller that has not followed it, and can move on to a third key', async () => {
    await rotated();
    await takenBack();
    await moving.call();
    expect(await keysNow()).toBeUndefined();
    const third = await rotated();
    await moving.call();
    expect(await keysNow()).toEqual([moving.targetId, third.deviceId]);
  });

  it('loses no caller to somebody who has the next key and repeats the statement about it', async () => {
    const next = await rotated();
    await moving.call();
    const copy = join(moving.root, 'thief');
    await cp(dir(), copy, { recursive: true });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5000 });
    await takenBack();
    await moving.call();
    const before = await moving.entry();
    moving.serve('first', undefined, copy);
    expect(await (await moving.call()).text()).toBe('ok'); // of a former key, for 30 days
    expect(await moving.entry()).toEqual(before);
    expect(before.keys?.map(({ deviceId }) => deviceId)).toEqual([next.deviceId, moving.targetId]);
    vi.setSystemTime(Date.now() + 31 * DAY_MS);
    moving.serve('first', undefined, copy);
    await expect(moving.call()).rejects.toMatchObject(unproven(`signed by ${next.deviceId}`));
  });
});

describe('a thief who could use the key of a target for a moment', () => {
  /** Serves as if the list had moved to the thief. */
  async function steal(): Promise<void> {
    const { trust } = await moving.open('first');
    const { head, pages } = await trust.open();
    const thief = await moving.add('thief');
    const { signer: former } = await moving.open('first');
    const both = { AMESH_OWNER_KEY: `${moving.identity('first').publicKey},${thief.publicKey}` };
    const device = await moving.open('thief', both);
    await takeOverList(device, both, { from: joinList(head, [...pages.values()]) });
    const text = await signRotation({
      former,
      next: device.signer,
      targetId: moving.targetId,
      nowMs: Date.now(),
    });
    await (await moving.open('thief', moving.alone('thief'))).trust.update((draft) =>
      draft.change({ succession: text }),
    );
  }

  it('moves no caller that has followed the target before, and that caller learns that there are two keys', async () => {
    await steal();
    await moving.move('first', 'second');
    moving.serve('second');
    await moving.call();
    const before = await moving.entry();
    moving.serve('thief');
    const { deviceId } = moving.identity('thief');
    await expect(moving.call()).rejects.toMatchObject(
      unproven(
        `${moving.targetId} has named two next keys, ${moving.identity('second').deviceId} and ${deviceId}`,
      ),
    );
    await expect(moving.call()).rejects.toMatchObject({ namesTwoKeys: true });
    expect(await moving.entry()).toEqual(before);
    moving.serve('second');
    expect(await (await moving.call()).text()).toBe('ok');
  });

  it('moves a caller that it answers first, which then refuses the target itself, and says so', async () => {
    await steal();
    await moving.move('first', 'second');
    moving.serve('thief');
    await moving.call();
    moving.serve('second');
    await expect(moving.call()).rejects.toMatchObject(unproven('has named two next keys'));
    expect(logged.join()).toContain('has named two next keys');
  });

  it('cannot make the time in which both keys are valid longer or shorter', async () => {
    await moving.move('first', 'second');
    moving.serve('second');
    await moving.call();
    const before = await moving.entry();
    const { signer: former } = await moving.open('first');
    const next = await moving.open('second', moving.alone('second'));
    for (const days of [-20, 0.003, -1]) {
      const statement = { former, next: next.signer, targetId: moving.targetId };
      const text = await signRotation({ ...statement, nowMs: Date.now() + days * DAY_MS });
      await next.trust.update((draft) => draft.change({ succession: text }));
      moving.serve('second');
      expect(await (await moving.call()).text()).toBe('ok');
    }
    expect(await moving.entry()).toEqual(before);
  });
});
