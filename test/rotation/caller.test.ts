import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import {
  acceptSuccessor,
  createIdentity,
  type Device,
  type DeviceIdentity,
  finishRotation,
  type OwnRotation,
  openDevice,
  readIdentity,
  readRotationFile,
  rotateKey,
  tellTargets,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { signing } from '@authmesh/sdk/undici';
import { Agent, request } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { usePassingTime } from '../support/passing-time';
import { meet, noteOf, type Target } from './targets';

let root = '';
let dir = '';
let former: DeviceIdentity;
let caller: Device;
let target: Target;
let close: () => Promise<void>;
let amesh: Amesh;

const pass = usePassingTime();
beforeEach(async () => {
  ({ root, dir, former, caller, target, close } = await meet());
  amesh = createAmesh({ dir, env: {} });
});
afterEach(async () => {
  await close();
});

/** Running processes look at the folder at most four times a second. */
async function settled(device: () => Promise<string>, expected: string): Promise<void> {
  await expect.poll(device).toBe(expected);
}
const idNow = async () => (await amesh.identity()).deviceId;
const call = async () => (await amesh.fetch(target.url)).status;
const last = () => target.received.at(-1);
const stateNow = async () => {
  const { state, isProven } =
    (await readRotationFile(caller.store))?.targets[target.device.identity.deviceId] ?? {};
  return `${state} ${isProven ? 'proven' : 'unproven'}`;
};

describe('a running caller whose key is rotated', () => {
  it('signs with the former key until the target accepts the next one, and tells it', async () => {
    expect(await call()).toBe(200);
    const { rotation, identity, isNew, isSwapped } = await rotateKey(dir, {});
    expect({ isNew, isSwapped }).toEqual({ isNew: true, isSwapped: true });
    expect(identity).toMatchObject({
      was: [former.deviceId],
      friendlyName: 'caller',
      deviceId: rotation.next.deviceId,
    });
    await settled(idNow, identity.deviceId);

    target.answer = 'waiting';
    expect(await call()).toBe(200);
    const statement = rotation.targets[target.device.identity.deviceId]?.statement;
    expect(last()).toEqual({ status: 200, signedBy: former.deviceId, rotation: statement });
    await expect.poll(stateNow).toBe('waiting proven');
    expect(await call()).toBe(200);
    expect(last()).toEqual({ status: 200, signedBy: former.deviceId, rotation: undefined }); // told less than 30 s ago

    await target.know(identity);
    target.answer = 'accepted';
    const told = await tellTargets(await openDevice(dir, {}), rotation, 'rotate', [new URL(target.url)], {});
    expect(told).toMatchObject([{ answer: 'accepted', isProven: true, status: 200, problem: null }]);
    expect(await stateNow()).toBe('accepted proven');
    expect(await call()).toBe(200);
    expect(last()).toMatchObject({ signedBy: former.deviceId }); // its instances may not know yet
    pass(6000);
    await expect.poll(async () => [await call(), last()?.signedBy]).toEqual([200, identity.deviceId]);

    await finishRotation(await openDevice(dir, {}), {});
    expect(await readRotationFile(caller.store)).toBeNull();
    // Where the target had just refused the next key, the former one signs until the process sees that.
    await expect.poll(async () => [await call(), last()?.signedBy]).toEqual([200, identity.deviceId]);
    await expect(readFile(join(dir, former.key.ref))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('keeps its list, which the next key seals from then on', async () => {
    const before = await caller.trust.read();
    const { identity } = await rotateKey(dir, {});
    const { trust } = await openDevice(dir, {});
    const list = await trust.read();
    expect(list.head).toMatchObject({
      list: former.deviceId,
      owner: identity.publicKey,
      ownerId: identity.deviceId,
    });
    expect([...list.devices()]).toEqual([...before.devices()]);
    await expect(
      caller.trust.update((draft) => draft.change({ hosts: ['a.example'] })),
    ).rejects.toMatchObject({
      code: 'allow_list_integrity_failure', // a process that has not looked yet
    });
  });

  it('continues after it has slept through a rotation that is over', async () => {
    await amesh.identity();
    const { identity } = await rotateKey(dir, {});
    await finishRotation(await openDevice(dir, {}), {}, { force: true });
    await settled(idNow, identity.deviceId);
    await target.know(identity);
    expect(await call()).toBe(200);
  });

  it('does not follow an identity that its key has not agreed to', async () => {
    expect(await idNow()).toBe(former.deviceId);
    const other = join(root, 'other');
    await createIdentity(other, {}, { friendlyName: 'other' });
    const { deviceId, publicKey } = (await readIdentity(
      (
        await openDevice(other, {})
      ).store,
    )) as DeviceIdentity;
    const forged = { version: 1, ...former, deviceId, publicKey, was: [former.deviceId] };
    await rotateKey(other, {});
    const { rotations } = (await readIdentity((await openDevice(other, {})).store)) as DeviceIdentity;
    await writeFile(join(dir, 'identity.json'), JSON.stringify({ ...forged, rotations }));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await idNow()).toBe(former.deviceId);
    await expect(amesh.fetch(target.url)).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
  });

  it('uses the other key if the target refuses one, and does not change at each refusal', async () => {
    const { identity, rotation } = await rotateKey(dir, {});
    await noteOf(dir, target, { state: 'accepted', isProven: true, at: 0 });
    // The target was restored from a copy, and knows the former key alone. Without proofs, since a refusal has none.
    target.answer = 'waiting';
    const plain = createAmesh({ dir, env: {}, answers: 'off' });
    expect((await plain.fetch(target.url)).status).toBe(200);
    expect(target.received.map(({ status, signedBy }) => [status, signedBy])).toEqual([
      [401, identity.deviceId],
      [200, former.deviceId],
    ]);
    expect(last()?.rotation).toBe(rotation.targets[target.device.identity.deviceId]?.statement);
  });
});

describe('a request that a program sends by itself', () => {
  const send = async () => {
    const { url, headers, answered } = await amesh.sign({ url: target.url });
    return answered(await fetch(url, { headers: headers as [string, string][] }));
  };

  it('tells the target the next key, and is signed by it once the target has accepted that', async () => {
    await amesh.identity();
    const { identity, rotation } = await rotateKey(dir, {});
    await settled(idNow, identity.deviceId);
    target.answer = 'waiting';
    await send();
    const statement = rotation.targets[target.device.identity.deviceId]?.statement;
    expect(last()).toEqual({ status: 200, signedBy: former.deviceId, rotation: statement });
    await expect.poll(stateNow).toBe('waiting proven');

    await target.know(identity);
    target.answer = 'accepted';
    pass(6000);
    amesh = createAmesh({ dir, env: {} }); // a process that has not told it
    await send();
    await expect.poll(stateNow).toBe('accepted proven');
    pass(6000);
    await expect
      .poll(async () => [(await send()).again, last()?.signedBy])
      .toEqual([false, identity.deviceId]);
  });

  it('is signed again by the other key if the target refuses one', async () => {
    const { identity } = await rotateKey(dir, {});
    await noteOf(dir, target, { state: 'accepted', isProven: true, at: 0 });
    expect((await send()).again).toBe(true);
    expect((await send()).again).toBe(false);
    expect(target.received.map(({ status, signedBy }) => [status, signedBy])).toEqual([
      [401, identity.deviceId],
      [200, former.deviceId],
    ]);
  });
});

describe('programs whose HTTP client uses amesh to sign', () => {
  const restored = () => noteOf(dir, target, { state: 'accepted', isProven: true, at: 0 });

  it('see no refusal while the key is replaced, even from a target that was restored from a copy', async () => {
    const dispatcher = new Agent().compose(signing(amesh));
    const seen: number[] = [];
    const all = async () => {
      for (const method of ['GET', 'POST'] as const)
        for (const body of method === 'GET' ? [undefined] : ['one', 'two']) {
          const response = await request(target.url, { dispatcher, method, body: body ?? null });
          await response.body.dump();
          seen.push(response.statusCode);
        }
    };
    await all();
    const { identity } = await rotateKey(dir, {});
    await settled(idNow, identity.deviceId);
    await all();
    await expect.poll(stateNow).toBe('waiting proven');
    await restored(); // it waits there all the same
    pass(6000);
    await expect.poll(async () => [await all(), last()?.signedBy][1]).toBe(former.deviceId);
    await target.device.trust.update((draft) =>
      acceptSuccessor(draft, identity.deviceId, Math.floor(Date.now() / 1000)),
    );
    await tellTargets(
      await openDevice(dir, {}),
      (await readRotationFile(caller.store)) as OwnRotation,
      'rotate',
      [new URL(target.url)],
      {},
    );
    pass(30_000); // until then the program does not ask a target again that had refused the key
    await expect.poll(async () => [await all(), last()?.signedBy][1]).toBe(identity.deviceId);
    expect(new Set(seen)).toEqual(new Set([200]));
    await dispatcher.close();
  });

  it('and demand proofs: what was refused is signed again if that cannot have it carried out twice', async () => {
    const { rotation } = await rotateKey(dir, {});
    await restored();
    const handled: string[] = [];
    target.onHandled = (what) => handled.push(what);
    const sent = async (method: string) => {
      const signed = await amesh.sign({ url: target.url, method }, { answers: 'required' });
      const response = await fetch(signed.url, { method, headers: signed.headers as [string, string][] });
      const { again, response: heard } = await signed.answered(response);
      return [heard.status, again, heard.headers.get('www-authenticate')];
    };
    expect(await sent('GET')).toEqual([401, true, null]); // nobody has proven more of it
    expect(await sent('GET')).toEqual([200, false, null]);
    await expect.poll(stateNow).toBe('waiting proven');
    await restored();
    amesh = createAmesh({ dir, env: {} });
    await expect(sent('POST')).rejects.toMatchObject({ code: 'answer_unproven' });
    expect(await sent('POST')).toEqual([200, false, null]);
    expect(handled.filter((what) => !what.startsWith('HEAD'))).toEqual(
      ['GET', 'POST'].map((method) => `${method} ${rotation.former.deviceId}`),
    );
  });
});

describe('a rotation that is taken back', () => {
  it('makes the former key the key of the machine again, also for a process that runs', async () => {
    await amesh.identity();
    const { identity, rotation } = await rotateKey(dir, {});
    await settled(idNow, identity.deviceId);
    expect(await call()).toBe(200);
    target.answer = 'withdrawn';
    const {
      told,
      left,
      identity: back,
    } = await withdrawRotation(
      await openDevice(dir, {}),
      {},
      {
        urls: [new URL(target.url)],
      },
    );
    expect(told).toMatchObject([{ answer: 'withdrawn' }]);
    expect(left).toEqual([]);
    expect(last()).toMatchObject({
      signedBy: former.deviceId,
      rotation: `withdraw=${rotation.targets[target.device.identity.deviceId]?.statement}`,
    });
    expect(back.deviceId).toBe(former.deviceId);
    await settled(idNow, former.deviceId);
    expect(await call()).toBe(200);
    expect(last()).toMatchObject({ signedBy: former.deviceId, rotation: undefined });
    const again = await openDevice(dir, {});
    expect((await again.trust.read()).head.owner).toBe(former.publicKey);
    await again.trust.update((draft) => draft.change({ hosts: ['a.example'] }));
    await expect(readFile(join(dir, rotation.next.key.ref))).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await rotateKey(dir, {})).isSwapped).toBe(true);
    expect(await call()).toBe(200);
  });

  it('allows no new rotation before each target knows that: two next keys would make it revoke the machine', async () => {
    await rotateKey(dir, {});
    target.answer = 'withdrawn';
    const id = target.device.identity.deviceId;
    const { left, rotation } = await withdrawRotation(await openDevice(dir, {}), {});
    expect(left).toEqual([id]);
    await expect(rotateKey(dir, {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
    expect(await call()).toBe(200);
    expect(last()).toEqual({
      status: 200,
      signedBy: former.deviceId,
      rotation: `withdraw=${rotation.targets[target.device.identity.deviceId]?.statement}`,
    });
    await expect.poll(stateNow).toBe('withdrawn proven');
    expect((await rotateKey(dir, {})).isNew).toBe(true);
  });
});
