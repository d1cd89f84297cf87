import type { Amesh } from '@authmesh/sdk';
import { describe, expect, it, vi } from 'vitest';
import { ENROLMENT_PATH } from '../support/enrolling';
import { useEnrolling } from '../support/use-enrolling';
import { SOON } from '../support/waiting';

const enrolling = useEnrolling();

/** A caller with a grant whose enrolments are held on the way, and what it has sent: `enrol`, or the method. */
async function held({ isTold = false } = {}) {
  const target = await enrolling.target();
  const { token } = await target.grant({ proves: false }); // whose answers to enrolments are believed
  const sent: string[] = [];
  const holding: (() => void)[] = [];
  let isFirst = isTold;
  const caller: Amesh = enrolling.caller(token, {
    async fetch(input, init) {
      if (!String(input).endsWith(ENROLMENT_PATH)) {
        sent.push(init?.method as string);
        return fetch(input, init);
      }
      sent.push('enrol');
      if (isFirst) {
        isFirst = false;
        return Response.json({ deviceId: (await caller.identity()).deviceId, expiresAt: null });
      }
      await new Promise<void>((resolve) => holding.push(resolve));
      return fetch(input, init);
    },
  });
  const isHeld = () => vi.waitFor(() => expect(holding).toHaveLength(1), SOON);
  const release = () => holding.splice(0).forEach((go) => void go());
  return { caller, url: target.origin, sent, isHeld, release };
}

const REASON = new Error('The caller does not wait any longer.');

describe('a target that does not answer an enrolment', () => {
  it.each(['fetch', 'sign'] as const)(
    'ends %s() with its signal, and later calls wait for the same enrolment',
    async (how) => {
      const { caller, url, sent, isHeld, release } = await held();
      const ending = new AbortController();
      const { signal } = ending;
      const call = how === 'fetch' ? caller.fetch(url, { signal }) : caller.sign({ url }, { signal });
      const ended = expect(call).rejects.toBe(REASON);
      await isHeld();
      const patient = caller.fetch(url);
      ending.abort(REASON);
      await ended;
      release();
      expect((await patient).status).toBe(200);
      expect(sent).toEqual(['enrol', 'GET']);
    },
  );

  it('is not asked for an enrolment by a call whose signal was aborted before', async () => {
    const { caller, url, sent } = await held();
    const body = new Blob(['one']).stream();
    const headers = { 'content-digest': 'sha-256=:dpKziX/gn0DIbsdDdmdyxDEWPtpYfjkJD+EOd63l5KA=:' };
    const init = { method: 'POST', body, headers, duplex: 'half', signal: AbortSignal.abort(REASON) };
    await expect(caller.fetch(url, init as RequestInit)).rejects.toBe(REASON);
    expect(sent).toEqual([]);
  });

  it('ends a call that it has refused, and that enrols once more', async () => {
    const { caller, url, sent, isHeld, release } = await held({ isTold: true });
    const ending = new AbortController();
    const call = caller.fetch(url, { method: 'POST', body: 'one', signal: ending.signal });
    const ended = expect(call).rejects.toBe(REASON);
    await isHeld();
    ending.abort(REASON);
    await ended;
    const posts = () => sent.filter((what) => what === 'POST').length;
    const before = posts();
    release();
    await vi.waitFor(async () => expect((await caller.fetch(url)).status).toBe(200), SOON);
    expect(posts()).toBe(before);
  });

  it('ends signed.answered() with the signal of sign()', async () => {
    const { caller, url, isHeld, release } = await held({ isTold: true });
    const ending = new AbortController();
    const signed = await caller.sign({ url }, { signal: ending.signal });
    const refused = new Response('{}', {
      status: 401,
      headers: { 'www-authenticate': 'AuthMesh error="unauthorized"' },
    });
    // The first one has just enrolled.
    expect(await signed.answered(refused.clone())).toMatchObject({ again: true });
    const second = await caller.sign({ url }, { signal: ending.signal });
    const ended = expect(second.answered(refused)).rejects.toBe(REASON);
    await isHeld();
    ending.abort(REASON);
    await ended;
    release();
  });
});
