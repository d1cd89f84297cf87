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

  it('sends exactly the same signature again to an instance that does not know its enrolment yet', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    const sent: string[] = [];
    let enrolments = 0;
    const caller = enrolling.caller(token, {
      answers: 'auto',
      async fetch(input, init) {
        if (String(input).endsWith(ENROLMENT_PATH)) enrolments++;
        else if (sent.push(new Headers(init?.headers).get('authorization') as string) === 1)
          return new Response(null, { status: 401, headers });
        return fetch(input, init);
      },
    });
    const response = await caller.fetch(target.origin, { method: 'POST' });
    expect([response.status, sent.length, enrolments]).toEqual([200, 2, 1]);
    expect(sent[1]).toBe(sent[0]);
    expect(provenBy(response)).toBeDefined();
  });

  it('does not cause a request to be carried out twice after a forged answer', async () => {
    const target = await enrolling.target();
    const { token } = await target.grant();
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    let carriedOut = 0;
    const caller = enrolling.caller(token, {
      answers: 'auto',
      async fetch(input, init) {
        const response = await fetch(input, init);
        if (String(input).endsWith(ENROLMENT_PATH)) return response;
        if (response.status === 200) carriedOut++;
        return new Response(null, { status: 401, headers });
      },
    });
    await expect(caller.fetch(target.origin, { method: 'POST' })).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'unauthorized',
    });
    expect(carriedOut).toBe(1);
  });
});
