import { createHash } from 'node:crypto';
import type { Amesh, AmeshOptions } from '@authmesh/sdk';
import { closeGrant, revokeDevice } from '@authmesh/sdk/admin';
import { InMemoryNonceStore, type NonceStore, provenBy } from '@authmesh/sdk/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { nodeCrypto } from '../../src/core/crypto/node';
import { deviceIdOf } from '../../src/core/devices/allow-list';
import { createLoopbackDispatcher, fetchWith } from '../support/dispatcher';
import { ENROLMENT_PATH, type EnrollingTarget, forgeEnrolment, stranger } from '../support/enrolling';
import { useEnrolling } from '../support/use-enrolling';

// Enrolments of callers whose clock is wrong.

const ASK = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer"';
const LATE = 'timestamp_out_of_range';

const enrolling = useEnrolling();

let dispatcher: Awaited<ReturnType<typeof createLoopbackDispatcher>>;
beforeAll(async () => {
  dispatcher = await createLoopbackDispatcher();
});
afterAll(() => dispatcher.close());

/** How far the clock of this process is ahead. It stands still otherwise. */
let aheadMs = 0;
beforeEach(() => {
  aheadMs = 0;
  const startMs = Date.now();
  vi.spyOn(Date, 'now').mockImplementation(() => startMs + aheadMs);
});
afterEach(() => void vi.mocked(Date.now).mockRestore());

const now = () => Math.floor(Date.now() / 1000);

/** A target whose nonce store remembers the last hour, and a grant from before. */
async function start(nonceStore?: NonceStore, grant: Parameters<EnrollingTarget['grant']>[0] = {}) {
  const remembering = () => new InMemoryNonceStore({ startedAt: now() - 3600 });
  const target = await enrolling.target({ enroll: true, nonceStore: nonceStore ?? remembering() });
  aheadMs = -1_800_000;
  const { token, id } = await target.grant(grant);
  aheadMs = 0;
  return { target, token, id };
}

/** What a response consists of, beside the moment. */
async function shown(response: Response) {
  const headers = [...response.headers].filter(([name]) => name !== 'date');
  return { status: response.status, headers, text: await response.text() };
}

describe('the target of a late enrolment', () => {
  const enrol = (
    origin: string,
    body: string,
    headers: Record<string, string> = { 'accept-signature': ASK },
  ) => fetch(origin + ENROLMENT_PATH, { method: 'POST', body, headers });
  const isSigned = ({ headers }: Response) => headers.has('signature') || headers.has('signature-input');

  it.each([31, -31, 200, -200, 290, -290])(
    'signs its refusal, and never carries the enrolment out later: %i s off',
    async (offset) => {
      const { target, token } = await start();
      const body = await forgeEnrolment(token, target.authority, { time: now() + offset });
      const response = await enrol(target.origin, body);
      expect([response.status, await response.json()]).toEqual([401, { error: LATE }]);
      const nonce = createHash('sha256').update(body).digest('base64url');
      expect(response.headers.get('signature-input')).toMatch(
        new RegExp(`;created=${now()};nonce="${nonce}";keyid="${target.device.identity.deviceId}";`),
      );
      aheadMs += offset * 1000; // at which it would have been good
      const again = await enrol(target.origin, body);
      expect([again.status, await again.json(), isSigned(again)]).toEqual([
        401,
        { error: 'unauthorized' },
        false,
      ]);
      expect(target.refusals.map(({ code }) => code)).toEqual([LATE, 'replay_detected']);
      expect((await target.list()).devices).toEqual([]);
    },
  );

  it('gives all others the same answer, and signs nothing', async () => {
    const { target, token } = await start();
    const late = now() - 60;
    const enrolment = (change = {}, signers = {}) =>
      forgeEnrolment(token, target.authority, { time: late, ...change }, signers);
    const good = await enrolment();
    expect(isSigned(await enrol(target.origin, good))).toBe(true);
    const answers = [
      await enrol(target.origin, good), // a replay
      await enrol(target.origin, await enrolment(), {}), // nobody asks
      await enrol(target.origin, await enrolment({}, { grant: await stranger() })),
      await enrol(target.origin, await enrolment({}, { caller: await stranger() })),
      await enrol(target.origin, await enrolment({ grant: 'A'.repeat(22) })),
      await enrol(target.origin, await enrolment({ name: 'other' })),
      await enrol(target.origin, await enrolment({ key: 'x' })),
      await enrol(target.origin, await enrolment({ time: now() - 302 })),
      await enrol(target.origin, await enrolment({ time: now() + 302 })),
    ];
    const texts = await Promise.all(answers.map(shown));
    expect(texts[0]).toMatchObject({ status: 401, text: `{"error":"${LATE}"}` });
    for (const text of texts) expect(text).toEqual(texts[0]);
    expect(answers.filter(isSigned)).toEqual([]);
    expect(new Set(target.refusals.map(({ code }) => code))).toEqual(new Set([LATE]));
  });

  it('signs nothing for a caller that the grant does not admit, and stores nothing', async () => {
    const claims: string[] = [];
    const memory = new InMemoryNonceStore({ startedAt: now() - 3600 });
    const nonceStore: NonceStore = {
      startedAt: memory.startedAt,
      claim: (...claim) => {
        claims.push(claim[0]);
        return memory.claim(...claim);
      },
    };
    const { target, token, id } = await start(nonceStore, { uses: 1 });
    const key = await stranger();
    const facts = { key: Buffer.from(key.publicKey).toString('base64url'), time: now() - 60 };
    const revoked = await forgeEnrolment(token, target.authority, facts, { caller: key });
    const deviceId = await deviceIdOf(key.publicKey, nodeCrypto);
    await target.device.trust.update((draft) => revokeDevice(draft, deviceId, now()).catch(() => {}));
    expect((await enrol(target.origin, await forgeEnrolment(token, target.authority))).status).toBe(200);
    const before = claims.length;
    const usedUp = await enrol(target.origin, revoked);
    expect([usedUp.status, isSigned(usedUp)]).toEqual([401, false]);
    await target.device.trust.update((draft) => closeGrant(draft, id, now()));
    await vi.waitUntil(async () => {
      const answer = await enrol(target.origin, await forgeEnrolment(token, target.authority));
      return (await answer.json()).error === 'grant_expired';
    });
    const late = { time: now() - 60 };
    const closed = await enrol(target.origin, await forgeEnrolment(token, target.authority, late));
    expect([closed.status, await closed.json(), isSigned(closed)]).toEqual([401, { error: LATE }, false]);
    expect(claims.length).toBe(before);
  });

  it('signs nothing if its nonce store has forgotten that time, or forgets it during the claim', async () => {
    const started = await start(new InMemoryNonceStore({ startedAt: now() - 50 }));
    const old = await forgeEnrolment(started.token, started.target.authority, { time: now() - 60 });
    expect(isSigned(await enrol(started.target.origin, old))).toBe(false);
    for (const offset of [0, -40]) {
      let startedAt = now() - 3600;
      const forgetful: NonceStore = {
        get startedAt() {
          return startedAt;
        },
        async claim() {
          startedAt = now() + 2; // as Redis does where it was started anew
          return true;
        },
      };
      const { target, token } = await start(forgetful);
      const body = await forgeEnrolment(token, target.authority, { time: now() + offset });
      const response = await enrol(target.origin, body);
      expect([response.status, await response.json()]).toEqual([401, { error: LATE }]);
      expect([offset, isSigned(response)]).toEqual([offset, false]);
    }
  });

  it('says that its nonce store fails, without a signature', async () => {
    const failing: NonceStore = { startedAt: 0, claim: () => Promise.reject(new Error('gone')) };
    const { target, token } = await start(failing);
    const body = await forgeEnrolment(token, target.authority, { time: now() - 60 });
    const response = await enrol(target.origin, body);
    expect([response.status, isSigned(response)]).toEqual([503, false]);
  });

  it('stores only a limited number of nonces for somebody with a grant', async () => {
    let [claims, isReplay] = [0, true];
    const nonceStore: NonceStore = { startedAt: 0, claim: () => !isReplay && ++claims > 0 };
    const { target, token } = await start(nonceStore);
    const facts = { time: now() - 60 };
    const recorded = await forgeEnrolment(token, target.authority, facts);
    for (let each = 0; each < 10; each++) expect(isSigned(await enrol(target.origin, recorded))).toBe(false);
    isReplay = false;
    for (let each = 0; each < 70; each++) {
      const response = await enrol(target.origin, await forgeEnrolment(token, target.authority, facts));
      expect([response.status, isSigned(response)]).toEqual([401, each < 64]);
    }
    expect(claims).toBe(64);
    expect((await enrol(target.origin, await forgeEnrolment(token, target.authority))).status).toBe(200);
    aheadMs += 1000;
    const later = await forgeEnrolment(token, target.authority, { time: now() - 60 });
    expect(isSigned(await enrol(target.origin, later))).toBe(true);
  });
});

/** What somebody between a caller and its target does with an enrolment, by the clock of the target. */
type Between = (deliver: () => Promise<Response>, count: number) => Promise<Response>;

const honest: Between = (deliver) => deliver();

/** A machine with nothing but a token, whose clock is wrong, over plain http to a name that is not loopback. */
async function callFrom(
  offset: number,
  between: Between = honest,
  {
    host = 'api.example.com',
    proves = true,
    ...options
  }: AmeshOptions & { host?: string; proves?: boolean } = {},
) {
  const { target } = await start();
  const url = `http://${host}:${target.port}/`;
  aheadMs = -1_800_000;
  const { token } = await target.grant({ hosts: [new URL(url).host], proves });
  aheadMs = offset * 1000;
  /** The times of its enrolments, as seconds from its own clock. */
  const times: number[] = [];
  const caller: Amesh = enrolling.caller(token, {
    answers: 'auto',
    async fetch(input, init) {
      const isEnrolment = String(input).endsWith(ENROLMENT_PATH);
      if (isEnrolment) times.push(timeOf(init) - now());
      aheadMs -= offset * 1000;
      try {
        const deliver = () => fetchWith(dispatcher as never)(input, init);
        return await (isEnrolment ? between(deliver, times.length) : deliver());
      } finally {
        aheadMs += offset * 1000;
      }
    },
    ...options,
  });
  return { target, caller, url, times };
}

function timeOf(init: RequestInit | undefined): number {
  const [facts = ''] = String(init?.body).split('.');
  return JSON.parse(Buffer.from(facts, 'base64url').toString()).time;
}

const used = async (target: EnrollingTarget) => (await target.list()).grants.at(-1)?.used;

describe('a caller with a wrong clock', () => {
  it.each([60, 200, 270, -60, -200, -270])(
    'enrols over plain http, by the proven time of the target: %i s ahead',
    async (offset) => {
      const { target, caller, url, times } = await callFrom(offset);
      const response = await caller.fetch(url, { method: 'POST', body: 'x' });
      expect([response.status, provenBy(response)?.target]).toEqual([200, target.device.identity.deviceId]);
      expect(times).toEqual([0, -offset]);
      expect(await used(target)).toBe(1);
    },
  );

  it('over loopback, too, by more than an unproven Date would change it', async () => {
    const { caller, url, times } = await callFrom(-100, honest, { host: '127.0.0.1' });
    expect((await caller.fetch(url)).status).toBe(200);
    expect(times).toEqual([0, 100]);
  });

  it('by more than any server remembers: nothing changes, and the error says what to do', async () => {
    const { target, caller, url, times } = await callFrom(-400);
    await expect(caller.fetch(url)).rejects.toMatchObject({
      code: 'answer_unproven',
      fix: expect.stringContaining('Set the clocks of both machines'),
    });
    expect(times).toEqual([0, 0]);
    expect(await used(target)).toBe(0);
  });
});

const changed = async (genuine: Response, change: (headers: Headers) => void) => {
  const headers = new Headers(genuine.headers);
  change(headers);
  return new Response(await genuine.text(), { status: genuine.status, headers });
};

describe('somebody between a caller and its target cannot change the time', () => {
  const recorded: Response[] = [];
  beforeEach(() => void recorded.splice(0));

  const cases: [string, Between][] = [
    ['by a refusal of their own', async () => refusalAt(20)],
    ['by a refusal of their own that says an earlier time', async () => refusalAt(-20)],
    [
      'by stripping the signature',
      async (deliver) => changed(await deliver(), (headers) => headers.delete('signature')),
    ],
    [
      'by changing the time that was signed',
      async (deliver) =>
        changed(await deliver(), (headers) => {
          const input = headers.get('signature-input') as string;
          headers.set('signature-input', input.replace(/created=\d+/, `created=${now() + 20}`));
        }),
    ],
    [
      'by the refusal of an earlier enrolment',
      async (deliver, count) => {
        recorded.push(await deliver());
        return count === 1 ? refusalAt(20) : (recorded[0] as Response);
      },
    ],
    [
      'by holding back the refusal for more than ten seconds',
      async (deliver) => {
        const response = await deliver();
        aheadMs += 11_000;
        return response;
      },
    ],
  ];

  const refusalAt = (seconds: number) =>
    new Response(`{"error":"${LATE}"}`, {
      status: 401,
      headers: {
        'www-authenticate': `AuthMesh error="${LATE}"`,
        date: new Date(Date.now() + seconds * 1000).toUTCString(),
      },
    });

  describe.each(['api.example.com', '127.0.0.1'])('at %s', (host) => {
    it.each(cases)('%s', async (_how, between) => {
      const { target, caller, url, times } = await callFrom(-60, between, { host });
      await expect(caller.fetch(url)).rejects.toMatchObject({ code: 'answer_unproven' });
      expect(times).toEqual([0, 0]);
      expect(await used(target)).toBe(0);
    });
  });

  it('and a caller whose clock is right enrols with its next attempt', async () => {
    const { target, caller, url, times } = await callFrom(0, async (deliver, count) =>
      count === 1 ? refusalAt(25) : deliver(),
    );
    expect((await caller.fetch(url)).status).toBe(200);
    expect([times, await used(target)]).toEqual([[0, 0], 1]);
  });
});

describe('a caller whose token says that its target proves nothing', () => {
  it('uses Date over loopback, up to 30 s ahead', async () => {
    let isFirst = true;
    const forged: Between = async (deliver) => {
      if (!isFirst) return deliver();
      isFirst = false;
      const headers = {
        'www-authenticate': `AuthMesh error="${LATE}"`,
        date: new Date(Date.now() + 20_000).toUTCString(),
      };
      return new Response(null, { status: 401, headers });
    };
    const options = { host: '127.0.0.1', proves: false, answers: 'off' as const };
    const { caller, url, times } = await callFrom(0, forged, options);
    expect((await caller.fetch(url)).status).toBe(200);
    expect([19, 20]).toContain(times[1]); // a Date has whole seconds
    const far = await callFrom(-100, honest, options);
    await expect(far.caller.fetch(far.url)).rejects.toMatchObject({ code: 'clock_skew_too_large' });
  });

  it('does not use Date over plain http', async () => {
    const { caller, url, times } = await callFrom(-60, honest, { proves: false, answers: 'off' });
    await expect(caller.fetch(url)).rejects.toMatchObject({
      code: 'enrolment_refused',
      fix: expect.stringContaining('Set the clocks of both machines'),
    });
    expect(times).toEqual([0]);
  });
});
