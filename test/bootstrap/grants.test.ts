import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { closeGrant, openDevice, revokeDevice, revokeGrant, rotateKey } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { type EnrollingTarget, forgeEnrolment, sendEnrolment, stranger } from '../support/enrolling';
import { times } from '../support/full';
import { changeDevices, documentOf, newDevice } from '../support/list-document';
import { claimsOf } from '../support/tokens';
import { useEnrolling } from '../support/use-enrolling';
import { otherwiseForMs, SOON } from '../support/waiting';

type Rest = Parameters<typeof forgeEnrolment> extends [string, string, ...infer R] ? R : never;

const enrolling = useEnrolling();

const now = () => Math.floor(Date.now() / 1000);
const codeOf = (error: unknown) => (isAmeshError(error) ? error.code : String(error));

describe('a caller with nothing but a grant', () => {
  it('enrols at its first fetch', async () => {
    const target = await enrolling.target();
    const { token, id } = await target.grant();
    const caller = enrolling.caller(token);
    const response = await caller.fetch(`${target.origin}/api`, { method: 'POST', body: 'x' });
    expect([response.status, await response.text()]).toEqual([200, 'passed']);

    const { deviceId, friendlyName } = await caller.identity();
    expect(friendlyName).toMatch(/^worker-./);
    const list = await target.list();
    expect(list.devices).toMatchObject([
      { deviceId, friendlyName, roles: ['controller'], lease: { grant: id } },
    ]);
    const { expiresAt = 0, endsAt = 0 } = list.devices[0]?.lease ?? {};
    expect(expiresAt - now()).toBeGreaterThan(86_390);
    expect(expiresAt - now()).toBeLessThanOrEqual(86_400);
    expect(endsAt - expiresAt).toBe(2_592_000 - 86_400);
    expect(list.grants).toMatchObject([{ id, used: 1, uses: 50 }]);
    expect(target.refusals).toEqual([]);
    expect(callsOf(enrolling.logged)).toEqual([
      [
        `amesh: AMESH_BOOTSTRAP_TOKEN was taken: this machine, "${friendlyName}" (${deviceId}), may now call "${target.device.identity.friendlyName}" (${target.device.identity.deviceId}) at ${target.authority}.`,
      ],
    ]);
  });

  it('enrols at its first signature, and remembers that once the target has accepted the request', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const caller = enrolling.caller(token);
    const { url, headers, answered } = await caller.sign({ url: `${target.origin}/api` });
    const { response } = await answered(await fetch(url, { headers: headers as [string, string][] }));
    expect([response.status, await response.text()]).toEqual([200, 'passed']);
    expect(callsOf(enrolling.logged)).toEqual([
      [expect.stringContaining('amesh: AMESH_BOOTSTRAP_TOKEN was taken: this machine')],
    ]);
    expect((await target.list()).devices).toHaveLength(1);
  });

  it('has the scopes of the grant, whatever it claims', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ scopes: ['jobs:take'] });
    expect(claimsOf(token)).not.toHaveProperty('scopes');
    const claimed = await forgeEnrolment(token, target.authority, { scopes: ['*'] });
    expect((await sendEnrolment(target.origin, claimed)).status).toBe(400);
    expect((await enrolling.caller(token).fetch(target.origin)).status).toBe(200);
    expect((await target.list()).devices).toMatchObject([{ scopes: ['jobs:take'] }]);
  });

  it('knows its target from then on, and enrols only once, even after a restart', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const dir = join(enrolling.root, 'caller');
    for (let start = 0; start < 3; start++) {
      const caller = enrolling.caller(token, { dir });
      expect((await caller.fetch(target.origin)).status).toBe(200);
      expect((await caller.fetch(target.origin)).status).toBe(200);
    }
    expect(target.captured).toHaveLength(1);
    expect(enrolling.logged).toHaveBeenCalledTimes(1); // and says so once
    expect((await target.list()).grants).toMatchObject([{ used: 1 }]);
    const { devices, tokens } = await documentOf((await openDevice(dir, {})).trust);
    expect(devices).toMatchObject([
      { deviceId: target.device.identity.deviceId, roles: ['target'], hosts: [target.authority] },
    ]);
    expect(tokens).toMatchObject([{ kind: 'taken', issuer: target.device.identity.deviceId }]);
  });

  it('that enrols again with the same key after it lost its memory is not counted again', async () => {
    const target = await enrolling.target();
    const { token, id } = await target.grant();
    const dir = join(enrolling.root, 'caller');
    expect((await enrolling.caller(token, { dir }).fetch(target.origin)).status).toBe(200);
    const { trust } = await openDevice(dir, {});
    await trust.update((draft) => draft.change({ tokens: [] }));
    expect((await enrolling.caller(token, { dir }).fetch(target.origin)).status).toBe(200);
    expect(target.captured).toHaveLength(2);
    expect((await target.list()).grants).toMatchObject([{ id, used: 1 }]);
  });

  it('with several first fetches at once enrols once, and all get responses', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ uses: 1 });
    const caller = enrolling.caller(token);
    const responses = await Promise.all(Array.from({ length: 10 }, () => caller.fetch(target.origin)));
    expect(responses.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(target.captured).toHaveLength(1);
  });

  it('does not enrol anywhere except at the hosts of the grant', async () => {
    const [target, other] = [await enrolling.target(), await enrolling.target()];
    const { token } = await target.grant({ hosts: [target.authority] });
    const caller = enrolling.caller(token);
    expect((await caller.fetch(other.origin)).status).toBe(401);
    expect(other.captured).toEqual([]);
    const unused = expect.stringContaining(
      `The grant in AMESH_BOOTSTRAP_TOKEN is for ${target.authority}. Another host was called, which refused the request`,
    );
    expect(enrolling.logged).toHaveBeenCalledWith(unused);
    enrolling.logged.mockClear();
    expect((await caller.fetch(target.origin)).status).toBe(200);
    expect((await caller.fetch(other.origin)).status).toBe(401);
    expect(enrolling.logged).not.toHaveBeenCalledWith(unused);
  });

  it('enrols its next key after its key was rotated, if the target has lost it', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const dir = join(enrolling.root, 'caller');
    const caller = enrolling.caller(token, { dir });
    expect((await caller.fetch(target.origin)).status).toBe(200);
    const was = await caller.identity();
    const { identity } = await rotateKey(dir, {});
    await expect.poll(async () => (await caller.identity()).deviceId).toBe(identity.deviceId);
    await target.device.trust.update((draft) => revokeDevice(draft, was.deviceId, now()));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
    const { trust } = await openDevice(dir, {});
    await trust.update((draft) => draft.change({ tokens: [] })); // so that it has something to note
    expect((await caller.fetch(target.origin)).status).toBe(200);
    expect((await target.list()).devices).toMatchObject([{ deviceId: identity.deviceId }]);
    expect((await documentOf(trust)).tokens).toMatchObject([{ kind: 'taken' }]);
  });

  it('enrols at a time of its own choice', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ hosts: [target.authority] });
    const caller = enrolling.caller(token);
    expect(await caller.bootstrapIfNeeded()).toBe(true);
    expect(await caller.bootstrapIfNeeded()).toBe(false);
    expect((await target.list()).devices).toHaveLength(1);
  });

  it('cannot enrol if the target does not allow that', async () => {
    const target = await enrolling.target({});
    const { token } = await target.grant();
    await expect(enrolling.caller(token).fetch(target.origin)).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'enrolment_refused',
    });
    expect((await target.list()).devices).toEqual([]);
  });

  it.each([
    ['a page that is not there', 404, '<html>', 'enrolment_failed', 'responded to the enrolment with 404.'],
    ['a redirect', 302, '', 'enrolment_failed', 'responded to the enrolment with 302.'],
    ['a page for everything', 200, '<html>', 'enrolment_failed', 'responded to the enrolment with 200.'],
    [
      'a yes for another',
      200,
      '{"deviceId":"am_AAAAAAAAAAAAAAAA","expiresAt":null}',
      'enrolment_failed',
      'responded to the enrolment with 200.',
    ],
    [
      'a limit of uses',
      403,
      '{"error":"grant_used_up"}',
      'answer_unproven',
      'All uses of the grant are used up.',
    ],
  ])('says so if it gets %s', async (_what, status, body, code, message) => {
    const target = await enrolling.target();
    const { token } = await target.grant({ hosts: ['api.example.com'] });
    const fetch = async () => new Response(body, { status });
    const caller = enrolling.caller(token, { fetch });
    const error = await caller.fetch('https://api.example.com/').catch((thrown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
  });
});

describe('the limits of a grant', () => {
  const [USES, CALLERS] = times([15, 25], [50, 80]) as [number, number];
  it(`${USES} uses and ${CALLERS} callers at once: exactly ${USES} get in`, async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ uses: USES });
    const results = await Promise.all(
      Array.from({ length: CALLERS }, () =>
        enrolling
          .caller(token)
          .fetch(target.origin)
          .then(({ status }) => status, codeOf),
      ),
    );
    expect(results.filter((result) => result === 200)).toHaveLength(USES);
    expect(results.filter((result) => result === 'grant_used_up')).toHaveLength(CALLERS - USES);
    const { devices, grants } = await target.list();
    expect(devices).toHaveLength(USES);
    expect(new Set(devices.map(({ deviceId }) => deviceId)).size).toBe(USES);
    expect(new Set(devices.map(({ friendlyName }) => friendlyName)).size).toBe(1); // a name is a label
    expect(grants).toMatchObject([{ used: USES }]);
  });

  it('a use stays used up, even if its entry is gone', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ uses: 1 });
    const caller = enrolling.caller(token);
    await caller.fetch(target.origin);
    const { deviceId } = await caller.identity();
    await target.device.trust.update((list) => revokeDevice(list, deviceId, now()));
    await expect(enrolling.caller(token).fetch(target.origin)).rejects.toMatchObject({
      code: 'grant_used_up',
    });
  });

  it('after its end nobody enrols, and callers that have enrolled stay', async () => {
    const target = await enrolling.target();
    const { token, id } = await target.grant();
    const early = enrolling.caller(token);
    await early.fetch(target.origin);
    await target.device.trust.update((draft) =>
      draft.change({ grants: draft.head.grants.map((grant) => ({ ...grant, expiresAt: now() - 1 })) }),
    );
    await expect(enrolling.caller(token).fetch(target.origin)).rejects.toMatchObject({
      code: 'grant_expired',
    });
    expect((await early.fetch(target.origin)).status).toBe(200);
    expect((await target.list()).grants).toMatchObject([{ id }]);
  });

  it('a revoked caller does not come back with its key', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const dir = join(enrolling.root, 'caller');
    const caller = enrolling.caller(token, { dir });
    await caller.fetch(target.origin);
    const { deviceId } = await caller.identity();
    await target.device.trust.update((list) => revokeDevice(list, deviceId, now()));
    const { trust } = await openDevice(dir, {});
    await trust.update((draft) => draft.change({ tokens: [] }));
    await expect(enrolling.caller(token, { dir }).fetch(target.origin)).rejects.toMatchObject({
      code: 'enrolment_refused',
    });
    expect(target.refusals.at(-1)?.detail).toContain('was revoked, so a grant cannot bring it back');
    expect((await target.list()).devices).toEqual([]);
  });

  it('when it is revoked, everybody who enrolled with it is removed, within a second', async () => {
    const target = await enrolling.target();
    const [one, two] = [await target.grant(), await target.grant()];
    const callers = [one, one, one, two].map(({ token }) => enrolling.caller(token));
    for (const caller of callers) expect((await caller.fetch(target.origin)).status).toBe(200);
    await target.device.trust.update((list) => revokeGrant(list, one.id, now()));
    const isRefused = async () => (await callers[0]?.fetch(target.origin))?.status === 401;
    expect(await otherwiseForMs(isRefused)).toBeLessThan(1000);
    const statuses = await Promise.all(
      callers.map(async (caller) => (await caller.fetch(target.origin)).status),
    );
    expect(statuses).toEqual([401, 401, 401, 200]);
    await expect(enrolling.caller(one.token).fetch(target.origin)).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'enrolment_refused',
      message: expect.stringContaining("See the target's log for the reason."),
    });
    // For those who read that log.
    expect(target.refusals.at(-1)).toMatchObject({
      detail: 'There is no such grant: it was revoked, has long expired, or never existed.',
      fix: 'If this caller should have access, give it a new grant: amesh grant',
    });
  });

  it('closed before anybody has enrolled, it says that it has ended', async () => {
    const target = await enrolling.target();
    const { token, id } = await target.grant();
    await target.device.trust.update((list) => closeGrant(list, id, now()));
    await expect(enrolling.caller(token).fetch(target.origin)).rejects.toMatchObject({
      code: 'grant_expired',
    });
  });
});

describe('leases', () => {
  async function leased(lease: (nowSeconds: number) => { expiresAt: number; endsAt: number }) {
    const target = await enrolling.target();
    const { token, id } = await target.grant({ leaseSeconds: 60, maxLeaseSeconds: 600 });
    const caller = enrolling.caller(token);
    expect((await caller.fetch(target.origin)).status).toBe(200);
    await changeDevices(target.device.trust, (device) => ({
      ...device,
      lease: { grant: id, ...lease(now()) },
    }));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
    return { target, caller, leaseNow: async () => (await target.list()).devices[0]?.lease };
  }

  it('are extended by use', async () => {
    const { target, caller, leaseNow } = await leased((t) => ({ expiresAt: t + 10, endsAt: t + 600 }));
    expect((await caller.fetch(target.origin)).status).toBe(200);
    await vi.waitUntil(async () => ((await leaseNow())?.expiresAt ?? 0) > now() + 55, SOON);
  });

  it('are not extended while most of their time is left', async () => {
    const { target, caller, leaseNow } = await leased((t) => ({ expiresAt: t + 50, endsAt: t + 600 }));
    const before = await leaseNow();
    expect((await caller.fetch(target.origin)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await leaseNow()).toEqual(before);
  });

  it('are never extended beyond their absolute end', async () => {
    const { target, caller, leaseNow } = await leased((t) => ({ expiresAt: t + 10, endsAt: t + 20 }));
    const end = (await leaseNow())?.endsAt;
    expect((await caller.fetch(target.origin)).status).toBe(200);
    await vi.waitUntil(async () => (await leaseNow())?.expiresAt === end, SOON);
  });

  it('that have ended are refused, and are removed by the next change of their page', async () => {
    const { target, caller, leaseNow } = await leased((t) => ({ expiresAt: t + 1, endsAt: t + 1 }));
    const { endsAt = 0 } = (await leaseNow()) ?? {};
    await vi.waitUntil(() => now() > endsAt, SOON);
    await target.device.trust.update((list) => closeGrant(list, list.head.grants[0]?.id ?? '', now()));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
    expect((await caller.fetch(target.origin)).status).toBe(401);
    expect(target.refusals.map(({ code }) => code)).toContain('device_expired');
    expect(await leaseNow()).toBeDefined();
    const other = newDevice();
    await target.device.trust.update((draft) => draft.put(other));
    expect((await target.list()).devices).toEqual([other]);
  });

  it('that have ended begin again with another use, while the grant is open', async () => {
    const { target, caller } = await leased((t) => ({ expiresAt: t - 1, endsAt: t - 1 }));
    expect((await caller.fetch(target.origin)).status).toBe(200);
    const { devices, grants } = await target.list();
    expect([devices.length, grants[0]?.used]).toEqual([1, 2]);
  });

  it('a renewal at the same time as a revocation never brings an entry back', async () => {
    const { target, caller } = await leased((t) => ({ expiresAt: t + 10, endsAt: t + 600 }));
    const { deviceId } = await caller.identity();
    const again = await target.list();
    for (let round = 0; round < 8; round++) {
      await target.device.trust.update(async (draft) => {
        for (const device of again.devices) await draft.put(device);
      });
      await new Promise((resolve) => setTimeout(resolve, 260));
      const { trust } = await openDevice(target.dir, {});
      const usedAt = performance.now();
      expect((await caller.fetch(target.origin)).status).toBe(200); // its renewal follows 100 ms later
      const restMs = usedAt + 80 + 5 * round - performance.now();
      await new Promise((resolve) => setTimeout(resolve, restMs));
      await trust.update((list) => revokeDevice(list, deviceId, now()));
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect((await target.list()).devices).toEqual([]);
    }
  });
});

describe('an enrolment', () => {
  let target: EnrollingTarget;
  let token: string;
  beforeEach(async () => {
    target = await enrolling.target();
    token = (await target.grant()).token;
  });

  const post = sendEnrolment;
  const enrolment = (...[change, signers]: Rest) => forgeEnrolment(token, target.authority, change, signers);

  it('is accepted if it is right', async () => {
    const response = await post(target.origin, await enrolment());
    expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(await response.json()).toMatchObject({ friendlyName: 'worker-1', expiresAt: expect.any(Number) });
  });

  it('that is captured and sent again does nothing', async () => {
    await enrolling.caller((await target.grant()).token).fetch(target.origin);
    const before = await target.list();
    const response = await post(target.origin, target.captured[0] as string);
    expect([response.status, target.refusals.at(-1)?.code]).toEqual([401, 'replay_detected']);
    expect(await target.list()).toEqual(before);
  });

  it('that is captured and sent to another target does nothing, whatever host it names', async () => {
    const other = await enrolling.target();
    await enrolling.caller((await target.grant()).token).fetch(target.origin);
    const response = await post(other.origin, target.captured[0] as string);
    expect([response.status, other.refusals.at(-1)?.detail]).toEqual([
      401,
      'The enrolment is for another target.',
    ]);
    expect((await other.list()).devices).toEqual([]);
  });

  it.each<[string, number, string, () => Promise<string>]>([
    ['for another host', 401, 'for another host', () => enrolment({ authority: 'localhost' })],
    ['for another target', 401, 'for another target', () => enrolment({ target: 'am_AAAAAAAAAAAAAAAA' })],
    ['by an unknown grant', 401, 'no such grant', () => enrolment({ grant: 'A'.repeat(22) })],
    ['under another name', 401, 'not for a caller of this name', () => enrolment({ name: 'admin' })],
    [
      'under a name with a bidi character',
      401,
      'not for a caller of this name',
      () => enrolment({ name: 'worker-\u202ex' }),
    ],
    ['too old', 401, 'was signed 6', () => enrolment({ time: now() - 60 })],
    ['from the future', 401, 's in the future', () => enrolment({ time: now() + 60 })],
    [
      'not signed with the key of the grant',
      401,
      'not signed with the key of the grant',
      async () => enrolment({}, { grant: await stranger() }),
    ],
    [
      "with another caller's key",
      401,
      'not signed with the key of the caller',
      async () => enrolment({}, { caller: await stranger() }),
    ],
    [
      "with the target's own key",
      401,
      'key of the caller',
      () => enrolment({ key: target.device.identity.publicKey }),
    ],
    [
      "with the target's own key, signed by it",
      401,
      "this machine's own key",
      () => enrolment({ key: target.device.identity.publicKey }, { caller: target.device.signer }),
    ],
    ['with a key that is not a point', 400, 'not a point', () => enrolment({ key: `A${'_'.repeat(43)}` })],
    ['with one member more', 400, 'not an amesh enrolment', () => enrolment({ role: 'target' })],
    ['without a name', 400, 'not an amesh enrolment', () => enrolment({ name: undefined })],
    [
      'with a changed byte',
      401,
      'not signed',
      async () => (await enrolment()).replace(/.(?=.{40}$)/, (c) => (c === 'A' ? 'B' : 'A')),
    ],
    ['that is not an enrolment', 400, 'not an amesh enrolment', async () => 'hello'],
    ['of no bytes', 400, 'not an amesh enrolment', async () => ''],
    ['of 5 kB', 413, 'larger than 4096 bytes', async () => 'a'.repeat(5000)],
  ])('%s is refused', async (_what, status, message, make) => {
    const before = await target.list();
    const response = await post(target.origin, await make());
    expect(response.status).toBe(status);
    expect(`${target.refusals.at(-1)?.detail}`).toContain(message);
    expect(await target.list()).toEqual(before);
  });

  it('is only a POST at exactly this path', async () => {
    const body = await enrolment();
    for (const path of [
      '/.well-known/amesh/enroll?x',
      '/.well-known/amesh/enroll/',
      '//.well-known/amesh/enroll',
    ]) {
      expect((await fetch(target.origin + path, { method: 'POST', body })).status).toBe(401);
    }
    expect((await fetch(`${target.origin}/.well-known/amesh/enroll`, { method: 'PUT', body })).status).toBe(
      401,
    );
    expect((await target.list()).devices).toEqual([]);
  });

  it('never contains a token, and neither do the responses to a client', async () => {
    const { token } = await target.grant();
    await enrolling.caller(token).fetch(target.origin);
    const written = JSON.stringify([
      target.captured,
      target.refusals,
      enrolling.logged.mock.calls,
      await target.list(),
    ]);
    const { jwk } = claimsOf(token);
    for (const part of [...token.split('.').slice(1), jwk.d]) expect(written).not.toContain(part);
  });
});

it('a verifier without an instance does not accept enroll', async () => {
  const { createVerifier } = await import('@authmesh/sdk/core');
  expect(() => createVerifier({ allowList: {}, enroll: true })).toThrow(
    'enroll needs an instance of createAmesh()',
  );
  expect(() => createAmesh({ dir: enrolling.root, env: {} }).verify({ enroll: 1 as never })).toThrow(
    'enroll must be true or false.',
  );
});
