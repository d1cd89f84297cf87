import { join } from 'node:path';
import type { Amesh } from '@authmesh/sdk';
import { openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { ENROLMENT_PATH, type EnrollingTarget } from '../support/enrolling';
import { documentOf } from '../support/list-document';
import { useEnrolling } from '../support/use-enrolling';

const enrolling = useEnrolling();

const now = () => Math.floor(Date.now() / 1000);
const AUTHMESH = (code: string) => ({ 'www-authenticate': `AuthMesh error="${code}"` });

/** What somebody in the place of the target answers; undefined where the target itself does. */
type Forger = (isEnrolment: boolean, deviceId: string) => Response | undefined;

interface Worker {
  readonly amesh: Amesh;
  /** The times of the enrolments that it has sent, Unix seconds. */
  readonly enrolments: number[];
  /** Whether the token is written down as taken. */
  isTaken(): Promise<boolean>;
}

/** A start of the worker in one folder, with its token still in the environment. */
function start(token: string, forge: Forger): Worker {
  const dir = join(enrolling.root, 'worker');
  const enrolments: number[] = [];
  const amesh: Amesh = enrolling.caller(token, {
    dir,
    async fetch(input, init) {
      const isEnrolment = String(input).endsWith(ENROLMENT_PATH);
      if (isEnrolment) {
        const [facts = ''] = String(init?.body).split('.');
        enrolments.push(JSON.parse(Buffer.from(facts, 'base64url').toString()).time);
      }
      const { deviceId } = await amesh.identity();
      return forge(isEnrolment, deviceId) ?? fetch(input, init);
    },
  });
  return {
    amesh,
    enrolments,
    isTaken: async () => (await documentOf((await openDevice(dir, {})).trust)).tokens.length > 0,
  };
}

/** Forges the first answer to an enrolment, and leaves the rest to the target. */
function first(answer: (deviceId: string) => Response): Forger {
  let isOver = false;
  return (isEnrolment, deviceId) => {
    if (!isEnrolment || isOver) return undefined;
    isOver = true;
    return answer(deviceId);
  };
}

const yes = (expiresAt: unknown) => (deviceId: string) => Response.json({ deviceId, expiresAt });

async function used(target: EnrollingTarget) {
  return (await target.list()).grants[0]?.used;
}

describe('one forged answer to an enrolment', () => {
  it.each([
    ['yes, without an end', null],
    ['yes, for a year', now() + 31_536_000],
    ['yes, until long ago', 1],
  ])('%s: the token is not taken, and the worker enrols at the target itself', async (_what, expiresAt) => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const worker = start(token, first(yes(expiresAt)));
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    expect([worker.enrolments.length, await used(target), await worker.isTaken()]).toEqual([2, 1, true]);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    expect(worker.enrolments).toHaveLength(2);
  });

  it('yes, before a restart: the token is still there', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const before = start(token, first(yes(null)));
    expect(await before.amesh.bootstrapIfNeeded().catch(() => false)).toBe(false); // no host: it is called first
    const hosted = await target.grant({ hosts: [target.authority] });
    const early = start(hosted.token, first(yes(null)));
    expect([await early.amesh.bootstrapIfNeeded(), await early.isTaken()]).toEqual([true, false]);
    const later = start(hosted.token, () => undefined);
    expect((await later.amesh.fetch(target.origin)).status).toBe(200);
    expect([later.enrolments.length, await later.isTaken()]).toEqual([1, true]);
  });

  it('and one to the request behind it: after a restart the worker is refused once, and enrols', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const squatter: Forger = (isEnrolment, deviceId) =>
      isEnrolment ? yes(now() + 31_536_000)(deviceId) : new Response('forged');
    const worker = start(token, squatter);
    expect(await (await worker.amesh.fetch(target.origin)).text()).toBe('forged');
    expect(await worker.isTaken()).toBe(true);
    const later = start(token, () => undefined);
    expect((await later.amesh.fetch(target.origin)).status).toBe(200);
    expect([later.enrolments.length, await used(target)]).toEqual([1, 1]);
  });

  it.each<[string, () => Response]>([
    ['grant_used_up', () => Response.json({ error: 'grant_used_up' }, { status: 403 })],
    ['grant_expired', () => Response.json({ error: 'grant_expired' }, { status: 403 })],
    ['a refusal', () => new Response('{}', { status: 401, headers: AUTHMESH('unauthorized') })],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: 'https://evil.example/' } })],
    ['another host', () => Response.json({ error: 'wrong_host' }, { status: 421 })],
    ['a fault', () => Response.json({ error: 'allow_list_unavailable' }, { status: 503 })],
    ['a page', () => new Response('<html>')],
    [
      'a page without end',
      () => new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) })),
    ],
    [
      'a time that is far off',
      () => {
        const date = new Date(Date.now() + 60_000).toUTCString();
        return new Response(null, { status: 401, headers: { ...AUTHMESH('timestamp_out_of_range'), date } });
      },
    ],
  ])('%s: this request fails, and the next enrols', async (_what, answer) => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const worker = start(token, first(answer));
    await expect(worker.amesh.fetch(target.origin)).rejects.toThrow();
    expect(await worker.isTaken()).toBe(false);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    expect(worker.enrolments).toHaveLength(2);
  });

  it('a Date makes it sign no enrolment more than 30 s ahead', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const date = new Date(Date.now() + 28_000).toUTCString();
    const headers = { ...AUTHMESH('timestamp_out_of_range'), date };
    const worker = start(
      token,
      first(() => new Response(null, { status: 401, headers })),
    );
    const response = await worker.amesh.fetch(target.origin);
    expect(response.status).toBe(200);
    for (const time of worker.enrolments) expect(time).toBeLessThanOrEqual(now() + 30);
  });
});

describe('a target that refuses the worker', () => {
  it('for good is not asked again and again', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const worker = start(token, () => undefined);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    const { deviceId } = await worker.amesh.identity();
    await target.device.trust.update((list) => revokeDevice(list, deviceId, now()));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
    const startedAt = performance.now();
    for (let round = 0; round < 10; round++) {
      const responses = await Promise.all([1, 2, 3].map(() => worker.amesh.fetch(target.origin)));
      expect(responses.map(({ status }) => status)).toEqual([401, 401, 401]);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    expect(worker.enrolments.length).toBeLessThanOrEqual(3 + Math.log2(1 + seconds));
    expect(worker.enrolments.length).toBeGreaterThan(1);
    expect(enrolling.logged.mock.calls.flat()).toContainEqual(
      expect.stringMatching(
        /refused a request of this machine, and also its new enrolment \(enrolment_refused\)/,
      ),
    );
    expect((await target.list()).devices).toEqual([]);
  });

  it('at another host than those of the grant gets no enrolment', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ hosts: [target.authority] });
    const worker = start(token, () => undefined);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    const other = await enrolling.target({});
    expect((await worker.amesh.fetch(other.origin)).status).toBe(401);
    expect(worker.enrolments).toHaveLength(1);
  });
});
