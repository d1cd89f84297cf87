import { provenBy } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { ENROLMENT_PATH } from '../support/enrolling';
import { useEnrolling } from '../support/use-enrolling';

const enrolling = useEnrolling();

describe('a caller that enrols over plain http', () => {
  it('gets proven answers from the target of its grant, from the first one on', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const caller = enrolling.caller(token, { answers: 'auto' });
    const response = await caller.fetch(target.origin);
    expect(provenBy(response)?.target).toBe(target.device.identity.deviceId);
    expect(await response.text()).toBe('passed');
  });

  it('sends no request again that nobody proved to be refused, but enrols anew for the next one', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    const sent: string[] = [];
    let enrolments = 0;
    const caller = enrolling.caller(token, {
      answers: 'auto',
      async fetch(input, init) {
        if (String(input).endsWith(ENROLMENT_PATH)) enrolments++;
        // As from an instance that has not heard of the enrolment yet.
        else if (sent.push(String(init?.method)) === 1) return new Response(null, { status: 401, headers });
        return fetch(input, init);
      },
    });
    await expect(caller.fetch(target.origin, { method: 'POST' })).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'unauthorized',
    });
    expect([sent, enrolments]).toEqual([['POST'], 2]);
    const response = await caller.fetch(target.origin, { method: 'POST' });
    expect([response.status, sent.length, enrolments]).toEqual([200, 2, 2]);
  });
});
