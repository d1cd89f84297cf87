import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Amesh } from '@authmesh/sdk';
import { openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { callsOf } from '../support/calls-of';
import { ENROLMENT_PATH, type EnrollingTarget, forgeEnrolment } from '../support/enrolling';
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

const lines = () => callsOf(enrolling.logged).map(([line]: unknown[]) => String(line));

const yes = (expiresAt: unknown) => (deviceId: string) => Response.json({ deviceId, expiresAt });

async function used(target: EnrollingTarget) {
  return (await target.list()).grants[0]?.used;
}

describe('one forged answer to an enrolment', () => {
  it.each([
    ['without an end', null],
    ['for a year', now() + 31_536_000],
    ['until long ago', 1],
  ])(
    'yes, %s: this request fails, nothing changes, and the next request enrols',
    async (_what, expiresAt) => {
      const target = await enrolling.target();
      const { token } = await target.grant();
      const worker = start(token, first(yes(expiresAt)));
      await expect(worker.amesh.fetch(target.origin)).rejects.toMatchObject({ code: 'answer_unproven' });
      expect([await used(target), await worker.isTaken()]).toEqual([0, false]);
      expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
      expect([worker.enrolments.length, await used(target), await worker.isTaken()]).toEqual([2, 1, true]);
      expect(lines()).toContainEqual(
        expect.stringContaining(
          `A response of ${target.authority} to the enrolment of this machine was not proven`,
        ),
      );
    },
  );

  it('yes, before a restart: the token is still there', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ hosts: [target.authority] });
    const early = start(token, first(yes(null)));
    await expect(early.amesh.bootstrapIfNeeded()).rejects.toMatchObject({ code: 'answer_unproven' });
    expect(await early.isTaken()).toBe(false);
    const later = start(token, () => undefined);
    expect((await later.amesh.fetch(target.origin)).status).toBe(200);
    expect([later.enrolments.length, await later.isTaken()]).toEqual([1, true]);
  });

  it('yes, for a grant whose target cannot prove its answers: it counts once the target accepts a request', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ proves: false });
    const worker = start(token, first(yes(now() + 31_536_000)));
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    expect([worker.enrolments.length, await used(target), await worker.isTaken()]).toEqual([2, 1, true]);
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
  ])('%s: this request fails, and the next one enrols', async (_what, answer) => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const worker = start(token, first(answer));
    await expect(worker.amesh.fetch(target.origin)).rejects.toThrow();
    expect(await worker.isTaken()).toBe(false);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
    expect(worker.enrolments).toHaveLength(2);
  });

  it.each([
    [
      'a refusal',
      401,
      AUTHMESH('unauthorized'),
      '{}',
      'To make a new one: amesh grant. Check which program responds',
    ],
    [
      'a used grant',
      403,
      {},
      '{"error":"grant_used_up"}',
      'amesh grant --uses N. Check which program responds',
    ],
  ])('%s: each sentence of the fix ends before the next one', async (_what, status, headers, body, fix) => {
    const { token } = await (await enrolling.target()).grant();
    const target = await enrolling.target();
    const worker = start(token, () => new Response(body, { status, headers }));
    await expect(worker.amesh.fetch(target.origin)).rejects.toMatchObject({
      fix: expect.stringContaining(fix),
    });
  });

  it('asks a squatter of the port only so often, and its target again when that is back', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    let isSquatted = true;
    const worker = start(token, (isEnrolment, deviceId) =>
      isEnrolment && isSquatted ? yes(null)(deviceId) : undefined,
    );
    const startedAt = performance.now();
    for (let round = 0; round < 30; round++)
      await expect(worker.amesh.fetch(target.origin)).rejects.toMatchObject({ code: 'answer_unproven' });
    const seconds = (performance.now() - startedAt) / 1000;
    expect(worker.enrolments.length).toBeLessThanOrEqual(3 + Math.log2(1 + seconds));
    isSquatted = false;
    const again = start(token, () => undefined);
    expect((await again.amesh.fetch(target.origin)).status).toBe(200);
    expect(await used(target)).toBe(1);
  });

  it.each([28_000, 60_000, -60_000])(
    'a Date that is %i ms off changes nothing: it enrols by its own clock',
    async (offMs) => {
      const target = await enrolling.target();
      const { token } = await target.grant();
      const date = new Date(Date.now() + offMs).toUTCString();
      const headers = { ...AUTHMESH('timestamp_out_of_range'), date };
      const worker = start(
        token,
        first(() => new Response(null, { status: 401, headers })),
      );
      const response = await worker.amesh.fetch(target.origin);
      expect(response.status).toBe(200);
      expect(worker.enrolments).toHaveLength(2);
      for (const time of worker.enrolments) expect(Math.abs(time - now())).toBeLessThan(20);
      expect([await used(target), await worker.isTaken()]).toEqual([1, true]);
    },
  );
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

/** What somebody between a worker and its target makes of an answer to its enrolment. */
type Changer = (genuine: Response, facts: { deviceId: string; body: string }) => Promise<Response> | Response;

const withHeaders = (genuine: Response, body: BodyInit | null, change: (headers: Headers) => void) => {
  const headers = new Headers(genuine.headers);
  change(headers);
  return new Response(body, { status: genuine.status, headers });
};

describe('somebody between a worker and its target', () => {
  const cases: [string, Changer][] = [
    [
      'strips the signature',
      async (genuine) => withHeaders(genuine, await genuine.text(), (headers) => headers.delete('signature')),
    ],
    [
      'moves the end of the lease',
      async (genuine) => {
        const answer = { ...(await genuine.json()), expiresAt: now() + 31_536_000 };
        return withHeaders(genuine, JSON.stringify(answer), () => {});
      },
    ],
    [
      'moves the end of the lease, and its digest',
      async (genuine) => {
        const text = JSON.stringify({ ...(await genuine.json()), expiresAt: null });
        const digest = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString(
          'base64',
        );
        return withHeaders(genuine, text, (headers) =>
          headers.set('unencoded-digest', `sha-256=:${digest}:`),
        );
      },
    ],
    [
      'says that the grant is used up, with that signature',
      async (genuine) => {
        const { headers } = withHeaders(genuine, null, () => {});
        return new Response('{"error":"grant_used_up"}', { status: 403, headers });
      },
    ],
    ['says that the grant has ended', () => Response.json({ error: 'grant_expired' }, { status: 403 })],
  ];

  it.each(cases)(
    '%s: nothing changes, the log says so, and the next request enrols',
    async (_what, change) => {
      const target = await enrolling.target();
      const { token } = await target.grant();
      let isOver = false;
      const dir = join(enrolling.root, 'worker');
      const amesh: Amesh = enrolling.caller(token, {
        dir,
        async fetch(input, init) {
          const genuine = await fetch(input, init);
          if (isOver || !String(input).endsWith(ENROLMENT_PATH)) return genuine;
          isOver = true;
          return change(genuine, { deviceId: (await amesh.identity()).deviceId, body: String(init?.body) });
        },
      });
      await expect(amesh.fetch(target.origin)).rejects.toMatchObject({ code: 'answer_unproven' });
      expect((await documentOf((await openDevice(dir, {})).trust)).tokens).toEqual([]);
      expect(lines()).toContainEqual(expect.stringContaining('so nothing was changed'));
      expect((await amesh.fetch(target.origin)).status).toBe(200);
      expect(await used(target)).toBe(1); // the same caller, so the same use
    },
  );

  it('passes on the answer to another caller, or to an earlier enrolment: nothing changes', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ uses: 3 });
    const recorded: Response[] = [];
    const record = enrolling.caller(token, {
      dir: join(enrolling.root, 'other'),
      async fetch(input, init) {
        const genuine = await fetch(input, init);
        if (String(input).endsWith(ENROLMENT_PATH)) recorded.push(genuine.clone());
        return genuine;
      },
    });
    expect((await record.fetch(target.origin)).status).toBe(200);
    const worker = start(token, (isEnrolment) => (isEnrolment ? recorded.shift() : undefined));
    await expect(worker.amesh.fetch(target.origin)).rejects.toThrow(/enrolment/);
    expect(await worker.isTaken()).toBe(false);
    expect((await worker.amesh.fetch(target.origin)).status).toBe(200);
  });
});

describe('the answer to an enrolment', () => {
  const ASK = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer"';
  const enrol = (origin: string, body: string, headers = {}) =>
    fetch(origin + ENROLMENT_PATH, { method: 'POST', body, headers });

  it('is signed once both signatures are right, and names the hash of the three parts', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant({ uses: 1 });
    const body = await forgeEnrolment(token, target.authority);
    const response = await enrol(target.origin, body, { 'accept-signature': ASK });
    expect(response.status).toBe(200);
    const nonce = createHash('sha256').update(body).digest('base64url');
    expect(response.headers.get('signature-input')).toContain(
      `;nonce="${nonce}";keyid="${target.device.identity.deviceId}"`,
    );
    const other = await forgeEnrolment(token, target.authority, { name: 'worker-2' });
    const refused = await enrol(target.origin, other, { 'accept-signature': ASK });
    expect([refused.status, await refused.json()]).toEqual([403, { error: 'grant_used_up' }]);
    expect(refused.headers.get('signature')).not.toBeNull();
  });

  it.each([
    ['a replay', async (body: string) => body],
    ['a wrong signature of the caller', async (body: string) => body.replace(/[^.]{86}$/, 'A'.repeat(86))],
    ['another text', async () => 'x'],
  ])('is not signed for %s', async (_what, change) => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const body = await forgeEnrolment(token, target.authority);
    expect((await enrol(target.origin, body)).headers.get('signature')).toBeNull(); // nor if nobody asks
    const response = await enrol(target.origin, await change(body), { 'accept-signature': ASK });
    expect([response.ok, response.headers.get('signature')]).toEqual([false, null]);
  });
});
