import type { Amesh, AmeshOptions } from '@authmesh/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLoopbackDispatcher, fetchWith } from '../support/dispatcher';
import { ENROLMENT_PATH } from '../support/enrolling';
import { useEnrolling } from '../support/use-enrolling';

const enrolling = useEnrolling();

let dispatcher: Awaited<ReturnType<typeof createLoopbackDispatcher>>;
beforeAll(async () => {
  dispatcher = await createLoopbackDispatcher();
});
afterAll(() => dispatcher.close());

/** What somebody between the caller and its target does with a request. */
type Between = (deliver: () => Promise<Response>, count: number) => Promise<Response>;

const refusal = (code: string) =>
  new Response('{}', { status: 401, headers: { 'www-authenticate': `AuthMesh error="${code}"` } });

/** A caller with a grant whose target proves nothing, over plain http to a name that is not loopback. */
async function start(between: Between, options: AmeshOptions = {}) {
  const target = await enrolling.target();
  const url = `http://api.example.com:${target.port}/pay`;
  const { token } = await target.grant({ hosts: [new URL(url).host], proves: false });
  const signatures: (string | null)[] = [];
  const seen = { enrolments: 0, carriedOut: 0 };
  const caller: Amesh = enrolling.caller(token, {
    fetch: (input, init) => {
      const send = () => fetchWith(dispatcher as never)(input, init);
      if (String(input).endsWith(ENROLMENT_PATH)) {
        seen.enrolments++;
        return send();
      }
      const deliver = async () => {
        const response = await send();
        if (response.status === 200) seen.carriedOut++;
        return response;
      };
      return between(deliver, signatures.push(new Headers(init?.headers).get('authorization')));
    },
    ...options,
  });
  return { caller, url, signatures, seen };
}

const POST = { method: 'POST', body: 'pay' };
const honest: Between = (deliver) => deliver();

describe.each(['unauthorized', 'device_expired'])(
  'over plain http, somebody delivers a POST and answers %s',
  (code) => {
    it('the first POST after an enrolment: it is carried out once', async () => {
      const { caller, url, signatures, seen } = await start(async (deliver, count) => {
        await deliver();
        return count < 3 ? refusal(code) : new Response(null, { status: 503 });
      });
      expect((await caller.fetch(url, POST)).ok).toBe(false);
      expect(new Set(signatures).size).toBe(1);
      expect(seen.carriedOut).toBe(1);
    });

    it('a later POST: it is carried out once', async () => {
      const { caller, url, signatures, seen } = await start(async (deliver, count) => {
        const response = await deliver();
        if (count === 1) return response;
        return count < 4 ? refusal(code) : new Response(null, { status: 503 });
      });
      expect((await caller.fetch(url, POST)).status).toBe(200);
      expect((await caller.fetch(url, POST)).ok).toBe(false);
      expect(new Set(signatures).size).toBe(2);
      expect(seen).toEqual({ carriedOut: 2, enrolments: 2 });
    });

    it('a program that sends requests itself is not told to sign it again', async () => {
      const { caller, url, seen } = await start(honest);
      expect((await caller.fetch(url)).status).toBe(200);
      const headers = { 'www-authenticate': `AuthMesh error="${code}"` };
      const { answered } = await caller.sign({ url, ...POST });
      expect((await answered({ status: 401, headers })).again).toBe(false);
      expect(seen.enrolments).toBe(2); // its next request is accepted
    });
  },
);

describe('over plain http, an instance that has not heard of an enrolment', () => {
  it('gets exactly the same POST again, and accepts it', async () => {
    const { caller, url, signatures, seen } = await start(async (deliver, count) =>
      count < 3 ? refusal('unauthorized') : deliver(),
    );
    expect((await caller.fetch(url, POST)).status).toBe(200);
    expect([signatures.length, new Set(signatures).size]).toEqual([3, 1]);
    expect(seen).toEqual({ carriedOut: 1, enrolments: 1 });
  });

  it('gets a GET with another signature', async () => {
    const { caller, url, signatures } = await start(async (deliver, count) =>
      count < 2 ? refusal('unauthorized') : deliver(),
    );
    expect((await caller.fetch(url)).status).toBe(200);
    expect(new Set(signatures).size).toBe(2);
  });

  it('makes a program sign a GET again', async () => {
    const { caller, url } = await start(honest);
    const { answered } = await caller.sign({ url });
    const headers = { 'www-authenticate': 'AuthMesh error="unauthorized"' };
    expect((await answered({ status: 401, headers })).again).toBe(true);
  });
});

it('over plain http, the log says what to do about a POST of a device whose time is over', async () => {
  const { caller, url, seen } = await start(async (deliver, count) =>
    count === 1 ? refusal('device_expired') : deliver(),
  );
  expect((await caller.fetch(url, POST)).status).toBe(401);
  expect(enrolling.logged.mock.calls.flat()).toContainEqual(
    expect.stringMatching(/refused a request .* nothing proves that it was not carried out: call again/),
  );
  expect((await caller.fetch(url, POST)).status).toBe(200);
  expect(seen.carriedOut).toBe(1);
});
