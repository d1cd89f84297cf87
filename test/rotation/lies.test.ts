import { type Amesh, type AmeshOptions, createAmesh } from '@authmesh/sdk';
import {
  acceptSuccessor,
  addDevice,
  allowScopes,
  type Device,
  finishRotation,
  type OwnRotation,
  openDevice,
  type Rotating,
  readRotationFile,
  revokeDevice,
  rotateKey,
  type ToldTarget,
  tellTargets,
  withdrawRotation,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { askTarget } from '../../src/machine/rotation/ask-target';
import { meet, noteOf, startTarget, type Target } from './targets';

/** What targets, and those between them and a caller, can say about a next key that is not so. */
let root = '';
let dir = '';
let caller: Device;
let target: Target;
let close: () => Promise<void>;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  ({ root, dir, caller, target, close } = await meet());
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  await close();
});

const open = () => openDevice(dir, {});
const targetId = () => target.device.identity.deviceId;
const pass = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);
const machine = (more: AmeshOptions = {}) => createAmesh({ dir, env: {}, onRefusal: () => {}, ...more });
const stateNow = async () => (await readRotationFile(caller.store))?.targets[targetId()];
const write = (state: Partial<ToldTarget>) => noteOf(dir, target, state);
/** What came, in order: the status, and which key signed it. */
const came = ({ rotation }: Rotating) =>
  target.received.map(
    ({ status, signedBy }) => `${status} ${signedBy === rotation.next.deviceId ? 'next' : 'former'}`,
  );
/** Somebody on the way who takes proofs out of answers. */
const stripped: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const headers = new Headers(response.headers);
  headers.delete('signature');
  return new Response(response.body, { status: response.status, headers });
};
const call = async (amesh: Amesh, init?: RequestInit) => (await amesh.fetch(target.url, init)).status;

describe('an answer that nobody has proven', () => {
  it('allows no other rotation after one that was taken back: two next keys would end the device', async () => {
    const { rotation } = await rotateKey(dir, {});
    const amesh = machine({ answers: 'off', fetch: stripped });
    target.answer = 'withdrawn';
    await withdrawRotation(await open(), {});
    expect(await call(amesh)).toBe(200);
    expect(target.received.at(-1)?.rotation).toBe(
      `withdraw=${rotation.targets[target.device.identity.deviceId]?.statement}`,
    );
    await expect.poll(stateNow).toMatchObject({ state: 'withdrawn', isProven: false });
    await expect(rotateKey(dir, {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
    expect((await withdrawRotation(await open(), {})).left).toEqual([targetId()]);
    const url = [new URL(target.url)];
    expect((await withdrawRotation(await open(), {}, { urls: url, fetch: stripped })).left).toEqual([
      targetId(),
    ]);
    expect((await withdrawRotation(await open(), {}, { urls: url })).left).toEqual([]);
    expect((await rotateKey(dir, {})).isNew).toBe(true);
  });

  it('takes away nothing that was proven, whichever process hears it', async () => {
    const { rotation } = await rotateKey(dir, {});
    const url = [new URL(target.url)];
    target.answer = 'accepted';
    await tellTargets(await open(), rotation, 'rotate', url, {});
    target.answer = 'refused';
    await tellTargets(await open(), rotation, 'rotate', url, {}, { fetch: stripped });
    expect(await stateNow()).toMatchObject({ state: 'accepted', isProven: true });
    await tellTargets(await open(), rotation, 'rotate', url, {});
    expect(await stateNow()).toMatchObject({ state: 'refused', isProven: true });
  });

  it('is proven later, if the target can: a process asks for that with the former key', async () => {
    const rotating = await rotateKey(dir, {});
    await target.know(rotating.identity);
    await write({ state: 'accepted', isProven: false, at: 0 });
    target.answer = 'accepted';
    const proving = machine();
    expect(await call(proving)).toBe(200);
    await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: true });
    await expect.poll(async () => [await call(proving), came(rotating).at(-1)]).toEqual([200, '200 next']);
    expect(came(rotating)[0]).toBe('200 former');
    expect((await finishRotation(await open(), {})).left).toEqual([]);
  });
});

describe('a target whose instances all only verify', () => {
  it('is asked with the next key, and counts as one that accepts it once that is proven', async () => {
    const { rotation, identity } = await rotateKey(dir, {});
    target.answer = 'unavailable';
    const url = [new URL(target.url)];
    const tell = async (how = {}) => (await tellTargets(await open(), rotation, 'rotate', url, {}, how))[0];
    expect(await tell()).toMatchObject({ answer: 'unavailable' });
    expect(await stateNow()).toMatchObject({ state: 'untold' });
    await target.know(identity); // its administrator has added the key by hand
    await expect.poll(() => tell()).toMatchObject({ answer: 'accepted', isProven: true });
    await write({ state: 'untold', isProven: false });
    expect(await tell({ fetch: stripped })).toMatchObject({ answer: null });
    expect(await stateNow()).toMatchObject({ state: 'untold' });
    await tell();
    expect((await finishRotation(await open(), {})).left).toEqual([]);
  });
});

describe('a target whose instances all only verify, and that refuses what the next key sends', () => {
  it('does not count as one that accepts it, although it proves the refusal', async () => {
    const { rotation, identity } = await rotateKey(dir, {});
    target.answer = 'unavailable';
    await target.know(identity);
    await target.device.trust.update((draft) => allowScopes(draft, identity.deviceId, ['a:b'], 1)); // it has ended
    const tell = async () =>
      (await tellTargets(await open(), rotation, 'rotate', [new URL(target.url)], {}))[0];
    expect(await tell()).toMatchObject({ answer: 'unavailable' });
    await new Promise((resolve) => setTimeout(resolve, 400)); // until the target has read its list
    expect(await tell()).toMatchObject({ answer: 'unavailable' });
    await expect(finishRotation(await open(), {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
  });
});

describe('a target that lies', () => {
  it.each(['refused', 'waiting'])(
    'or is an older one, and answers a withdrawal with "%s", does not count as one that knows',
    async (answer) => {
      await rotateKey(dir, {});
      target.answer = answer;
      const { left } = await withdrawRotation(await open(), {}, { urls: [new URL(target.url)] });
      expect(left).toEqual([targetId()]);
      expect(await call(machine())).toBe(200); // a program tells it, too
      await new Promise((resolve) => setTimeout(resolve, 50)); // until it would be written
      expect(await stateNow()).toMatchObject({ state: 'untold' });
      await expect(rotateKey(dir, {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
    },
  );

  it('and answers a next key with "withdrawn", has said nothing about it', async () => {
    const { rotation } = await rotateKey(dir, {});
    target.answer = 'withdrawn';
    await tellTargets(await open(), rotation, 'rotate', [new URL(target.url)], {});
    expect(await call(machine())).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 50)); // until it would be written
    expect(await stateNow()).toMatchObject({ state: 'untold' });
  });

  it('and answers a withdrawal with "accepted" for the next key, does not count as one that knows', async () => {
    await rotateKey(dir, {});
    target.answer = 'accepted';
    const { left } = await withdrawRotation(await open(), {}, { urls: [new URL(target.url)] });
    expect(left).toEqual([targetId()]);
    await expect(rotateKey(dir, {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
  });

  it('and accepts a next key that it then refuses, costs no request, and keeps the former key', async () => {
    const rotating = await rotateKey(dir, {});
    target.answer = 'accepted';
    await write({ state: 'accepted', isProven: true, at: 0 });
    const amesh = machine({ answers: 'off' });
    for (let i = 0; i < 8; i++) {
      expect(await call(amesh)).toBe(200);
      pass(6);
    }
    expect(came(rotating).slice(0, 2)).toEqual(['401 next', '200 former']);
    expect(await stateNow()).not.toMatchObject({ state: 'accepted', isProven: true });
    await expect(finishRotation(await open(), {})).rejects.toMatchObject({ code: 'rotation_unfinished' });
  });
});

describe('a target that redirects', () => {
  it('to another one passes on neither a statement nor a signature', async () => {
    await rotateKey(dir, {});
    const other = await startTarget(root, 'other', await open());
    const seen: Headers[] = [];
    const redirecting: typeof fetch = async (_, init) => {
      seen.push(new Headers(init?.headers));
      if (seen.length > 1) return new Response('ok');
      return new Response(null, { status: 302, headers: { location: other.url } });
    };
    try {
      expect(await call(machine({ answers: 'off', fetch: redirecting }))).toBe(200);
      const named = seen.map((headers) => [...headers.keys()].filter((name) => /^auth/.test(name)));
      expect(named[0]).toEqual(['authmesh-rotation', 'authmesh-target', 'authorization']);
      expect(named[1]).toEqual([]);
    } finally {
      await other.close();
    }
  });
});

describe('over http, a target that was restored from a copy, and knows only the former key', () => {
  const handled: string[] = [];
  beforeEach(() => {
    handled.length = 0;
    target.onHandled = (signedBy) => handled.push(signedBy);
  });

  /** The requests that were carried out, without those that only ask. */
  const done = () => handled.filter((what) => !what.startsWith('HEAD'));
  const accept = ({ next }: OwnRotation) =>
    target.device.trust.update((draft) =>
      acceptSuccessor(draft, next.deviceId, Math.floor(Date.now() / 1000)),
    );
  /** Whether the target knows the next key by now, which is that of the caller. */
  const isKnown = async ({ next }: OwnRotation) => {
    const { signer } = await open();
    const { deviceId, publicKey } = target.device.identity;
    const called = { deviceId, publicKey: fromBase64Url(publicKey) as Uint8Array };
    expect(next.deviceId).toBe((await open()).identity.deviceId);
    return (await askTarget(new URL(target.url), { signer, called, method: 'HEAD' })).status === 200;
  };
  /** Somebody on the way who keeps the first POST, and can deliver it later. */
  const holdBack = (beforeSecond = async () => {}) => {
    const posts: [url: string, init: RequestInit][] = [];
    const holding: typeof fetch = async (input, init = {}) => {
      if (init.method === 'POST' && posts.push([String(input), init]) === 2) await beforeSecond();
      return fetch(input, init);
    };
    const deliver = async () => (await fetch(...(posts[0] as (typeof posts)[0]))).status;
    return { holding, deliver };
  };

  it('and refuses the next one: no request fails, and none is carried out twice', async () => {
    const { rotation } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    target.answer = 'refused';
    const amesh = machine();
    for (const body of ['one', 'two']) expect(await call(amesh, { method: 'POST', body })).toBe(200);
    expect(done()).toEqual(Array(2).fill(`POST ${rotation.former.deviceId}`));
    await expect.poll(stateNow).toMatchObject({ state: 'refused', isProven: true });
  });

  it('and makes the next one wait: no request fails, and none is carried out twice', async () => {
    const { rotation } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    const amesh = machine();
    expect(await call(amesh, { method: 'POST', body: 'one' })).toBe(200);
    expect(await call(amesh)).toBe(200);
    expect(done()).toEqual(['POST', 'GET'].map((method) => `${method} ${rotation.former.deviceId}`));
    await expect.poll(stateNow).toMatchObject({ state: 'waiting', isProven: true });
  });

  it('and then accepts it: the request that somebody has held back until then is not carried out either', async () => {
    const { rotation } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    const { holding, deliver } = holdBack();
    const amesh = machine({ fetch: holding });
    expect(await call(amesh, { method: 'POST', body: 'one' })).toBe(200);
    await accept(rotation);
    await expect.poll(() => isKnown(rotation)).toBe(true);
    expect(await deliver()).toBe(401);
    expect(done()).toEqual([`POST ${rotation.former.deviceId}`]);
  });

  it('and then accepts it: the request of the former key is not carried out after one that was held back', async () => {
    const { rotation } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    const { holding, deliver } = holdBack(async () => {
      await accept(rotation);
      await expect.poll(deliver).toBe(200);
    });
    const posted = machine({ fetch: holding }).fetch(target.url, { method: 'POST', body: 'one' });
    await expect(posted).rejects.toMatchObject({ code: 'answer_unproven', claims: 'unauthorized' });
    expect(done()).toEqual([`POST ${rotation.next.deviceId}`]);
  });

  it('and accepts it again: exactly the same request is sent again', async () => {
    const { rotation, identity } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    target.answer = 'accepted';
    target.onHandled = (what) => {
      handled.push(what);
      if (what.startsWith('HEAD')) void target.know(identity);
    };
    expect(await call(machine(), { method: 'POST', body: 'one' })).toBe(200);
    expect(handled.filter((what) => what.startsWith('POST'))).toEqual([`POST ${rotation.next.deviceId}`]);
  });

  it('and says nothing about the next one: a safe request is signed by the former key, another one fails', async () => {
    const { rotation } = await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    target.answer = 'what this version does not know';
    expect(await call(machine())).toBe(200);
    await expect.poll(stateNow).toMatchObject({ state: 'untold' });
    await write({ state: 'accepted', isProven: true, at: 0 });
    await expect(call(machine(), { method: 'POST', body: 'one' })).rejects.toMatchObject({
      code: 'answer_unproven',
    });
    expect(done()).toEqual([`GET ${rotation.former.deviceId}`]);
  });

  it('and does not answer when it is asked: a call ends with its signal, and the question after a while', async () => {
    await rotateKey(dir, {});
    await write({ state: 'accepted', isProven: true, at: 0 });
    const ending = new AbortController();
    const { signal } = ending;
    const reason = new Error('The caller does not wait any longer.');
    const silent: typeof fetch = (input, init) => {
      if (init?.method !== 'HEAD') return fetch(input, init);
      ending.abort(reason);
      return new Promise((_, reject) =>
        init.signal?.addEventListener('abort', () => reject(init.signal?.reason)),
      );
    };
    const call = machine({ fetch: silent }).fetch(target.url, { method: 'POST', body: 'one', signal });
    await expect(call).rejects.toBe(reason);
    expect(done()).toEqual([]);

    const { deviceId, publicKey } = target.device.identity;
    const called = { deviceId, publicKey: fromBase64Url(publicKey) as Uint8Array };
    const { signer } = await open();
    const asking = { signer, called, method: 'HEAD', fetch: silent, timeoutMs: 50 } as const;
    expect(await askTarget(new URL(target.url), asking)).toEqual({
      status: null,
      answer: null,
      isProven: false,
      problem: 'The target did not answer within 0.05 s.',
    });
    for (const [thrown, problem] of [
      [null, 'null'],
      [undefined, 'undefined'],
      ['no route', 'no route'],
      [new Error('no route', { cause: new Error('for now') }), 'no route (for now)'],
    ]) {
      const failing = { ...asking, fetch: () => Promise.reject(thrown) };
      expect(await askTarget(new URL(target.url), failing)).toMatchObject({ status: null, problem });
    }
  });

  it('somebody in between who forges a refusal cannot have a request carried out twice', async () => {
    const { rotation, identity } = await rotateKey(dir, {});
    await target.know(identity);
    await write({ state: 'accepted', isProven: true, at: 0 });
    target.answer = 'accepted';
    const forging: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method === 'HEAD') return response;
      return new Response('{"error":"unauthorized"}', {
        status: 401,
        headers: { 'www-authenticate': 'AuthMesh error="unauthorized"' },
      });
    };
    const posted = machine({ fetch: forging }).fetch(target.url, { method: 'POST', body: 'one' });
    await expect(posted).rejects.toMatchObject({ code: 'answer_unproven' });
    expect(handled.filter((what) => what.startsWith('POST'))).toEqual([`POST ${rotation.next.deviceId}`]);
    expect(await stateNow()).toMatchObject({ state: 'accepted', isProven: true });
  });
});

describe('over http, a target that has cut the former key already, and knows the next one', () => {
  const handled: string[] = [];
  const cut = async () => {
    const { rotation, identity } = await rotateKey(dir, {});
    await target.know(identity);
    await target.device.trust.update((draft) => revokeDevice(draft, rotation.former.deviceId, 1));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
    handled.length = 0;
    target.onHandled = (what) => handled.push(what);
    return rotation;
  };

  it('gets a safe request once more, signed by the next key, and no other one', async () => {
    const { next } = await cut();
    expect(await call(machine())).toBe(200);
    expect(handled).toEqual(['HEAD', 'GET'].map((method) => `${method} ${next.deviceId}`));
    // Its answer has proven that it knows the key.
    await expect.poll(stateNow).toMatchObject({ state: 'accepted', isProven: true });
    await write({ state: 'waiting', at: 1 });
    const posting = machine();
    const post = () => call(posting, { method: 'POST', body: 'one' });
    await expect(post()).rejects.toMatchObject({ code: 'answer_unproven', claims: 'unauthorized' });
    expect(await post()).toBe(200);
    expect(handled.slice(2)).toEqual(['HEAD', 'POST'].map((method) => `${method} ${next.deviceId}`));
  });

  it('counts as one that accepts it when it gets the statement, once it proves that', async () => {
    const rotation = await cut();
    const tell = async (how = {}) =>
      (await tellTargets(await open(), rotation, 'rotate', [new URL(target.url)], {}, how))[0];
    expect(await tell({ fetch: stripped })).toMatchObject({ answer: null, problem: expect.any(String) });
    expect(await stateNow()).toMatchObject({ state: 'untold' });
    expect(await tell()).toMatchObject({ answer: 'accepted', isProven: true, problem: null });
    expect((await finishRotation(await open(), {})).left).toEqual([]);
  });

  it('gets another call immediately if nobody asks for proofs', async () => {
    const rotation = await cut();
    expect(await call(machine({ answers: 'off' }), { method: 'POST', body: 'one' })).toBe(200);
    expect(handled).toEqual([`POST ${rotation.next.deviceId}`]);
  });

  it('gets no request of the next key while nothing proves that it knows that', async () => {
    await cut();
    const amesh = machine({ fetch: stripped });
    await expect(call(amesh)).rejects.toMatchObject({ code: 'answer_unproven', claims: 'unauthorized' });
    await expect(call(amesh)).rejects.toMatchObject({ code: 'answer_unproven', claims: 'unauthorized' });
    expect(handled.filter((what) => !what.startsWith('HEAD'))).toEqual([]);
    expect(await stateNow()).toMatchObject({ state: 'untold' });
  });
});

describe('a list that changes while a rotation waits', () => {
  it('has a target that was paired in the meantime: it gets the statement, too', async () => {
    const shared = { AMESH_OWNER_KEY: caller.identity.publicKey };
    const waiting = await rotateKey(dir, shared);
    expect(waiting.waitsForOwners).not.toBeNull();
    const late = await startTarget(root, 'late', await open());
    try {
      const { rotation, isSwapped } = await rotateKey(
        dir,
        { AMESH_OWNER_KEY: waiting.waitsForOwners as string },
        {
          haveInstancesBoth: async () => true,
        },
      );
      expect(isSwapped).toBe(true);
      expect(Object.keys(rotation.targets).sort()).toEqual(
        [targetId(), late.device.identity.deviceId].sort(),
      );
      late.answer = 'waiting';
      expect((await machine().fetch(late.url)).status).toBe(200);
      expect(late.received.at(-1)).toMatchObject({ signedBy: rotation.former.deviceId });
    } finally {
      await late.close();
    }
  });
});

describe('rotation.json', () => {
  it('may have only right statements: another text would break each request', async () => {
    await rotateKey(dir, {});
    for (const statement of ['a\nb', '', 'x'.repeat(600)]) {
      await write({ statement });
      await expect(readRotationFile(caller.store)).rejects.toMatchObject({ code: 'rotation_unreadable' });
    }
  });

  it('is written a few times for hundreds of targets', async () => {
    await caller.trust.update(async (draft) => {
      for (let i = 0; i < 200; i++) {
        const { deviceId, publicKey } = await throwaway();
        await addDevice(draft, { deviceId, publicKey, friendlyName: `t${i}`, role: 'target', hosts: [] }, 0);
      }
    });
    const { rotation } = await rotateKey(dir, {});
    const { CallerRotation } = await import('../../src/machine/rotation/caller-rotation');
    const swap = vi.spyOn(caller.store, 'swap');
    const rotating = new CallerRotation({ store: caller.store, tell: () => {} });
    for (const [id, { statement }] of Object.entries(rotation.targets))
      rotating.note({ targetId: id, rotation: statement, answer: 'waiting', isProven: true }, rotation);
    const waiting = async () =>
      Object.values((await readRotationFile(caller.store))?.targets ?? {}).filter(
        ({ state }) => state === 'waiting',
      ).length;
    await expect.poll(waiting).toBe(201);
    expect(swap.mock.calls.length).toBeLessThan(5);
  });
});

async function throwaway() {
  const { nodeCrypto } = await import('@authmesh/sdk/crypto/node');
  const { deviceIdOf, toBase64Url } = await import('../../src/core/encoding').then(async (encoding) => ({
    ...encoding,
    ...(await import('@authmesh/sdk/core')),
  }));
  const { publicKey } = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  return { deviceId: await deviceIdOf(publicKey, nodeCrypto), publicKey: toBase64Url(publicKey) };
}
