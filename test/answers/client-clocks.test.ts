import { type ClientRefusal, InMemoryNonceStore, provenBy, withWorkingKey } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { createPreparer } from '../../src/core/sign/client';
import { readOptions } from '../../src/core/sign/options';
import { signerOf } from '../support/core';
import { askingClient, provingTarget, useProvingServer } from '../support/proving-server';

const server = useProvingServer();
beforeEach(() => server.reset());

/** A client whose clock is that much ahead of the server's. */
const skewed = (aheadMs: number, options: Parameters<typeof askingClient>[0] = {}) =>
  askingClient({ now: () => Date.now() + aheadMs, ...options });

const asked = () => server.seen.map(({ headers }) => headers['accept-signature'] !== undefined);

/** Sends what is for an https URL over http, as behind a front that ends TLS. */
const behindTls = ((input: URL | string, init: RequestInit) =>
  fetch(String(input).replace('https:', 'http:'), init)) as typeof fetch;

// Away from the limits of 30 s and 300 s, by more than a busy machine takes for a request.
describe.each([60_000, 200_000, 270_000, -31_000, -200_000, -270_000])(
  'a clock that is %i ms ahead',
  (aheadMs) => {
    it('is corrected by a proven refusal over http, once, and the next requests have the right time', async () => {
      const client = skewed(aheadMs);
      const init = { method: 'POST', body: 'pay' };
      expect(provenBy(await client.fetch(server.origin, init))?.target).toBe(provingTarget.deviceId);
      expect(server.seen).toHaveLength(2);
      expect((await client.fetch(server.origin, init)).status).toBe(200);
      expect(server.seen).toHaveLength(3);
      expect(server.done).toEqual(['pay', 'pay']);
    });

    it('is corrected over https by asking once more, with a proof', async () => {
      const client = skewed(aheadMs, { fetch: behindTls });
      const origin = server.origin.replace('http:', 'https:');
      const response = await client.fetch(origin, { method: 'POST', body: 'pay' });
      expect([response.status, provenBy(response)]).toEqual([200, undefined]);
      expect(asked()).toEqual([false, true, false]);
      expect((await client.fetch(origin)).status).toBe(200);
      expect(server.seen).toHaveLength(4);
      expect(server.done).toEqual(['pay', '']);
    });
  },
);

describe('a clock that is wrong', () => {
  it.each([
    ['a target without a key', { targetOf: () => provingTarget.deviceId }],
    ['a target that cannot prove', { targetOf: () => ({ ...provingTarget, proves: false }) }],
    ['a client that does not ask', { answers: 'off' as const }],
  ])('follows Date by 29 s over https, and no further, with %s', async (_name, options) => {
    server.use({ clockSkewSeconds: 10 });
    const origin = server.origin.replace('http:', 'https:');
    expect((await skewed(-28_000, { fetch: behindTls, ...options }).fetch(origin)).status).toBe(200);
    const far = skewed(-45_000, { fetch: behindTls, ...options }).fetch(origin);
    await expect(far).rejects.toMatchObject({ code: 'clock_skew_too_large' });
    expect(asked()).not.toContain(true);
  });

  it('follows Date over https if the target signs nothing, but not beyond 30 s', async () => {
    server.use({ answerSigner: undefined, clockSkewSeconds: 10 });
    const origin = server.origin.replace('http:', 'https:');
    expect((await skewed(-28_000, { fetch: behindTls }).fetch(origin)).status).toBe(200);
    expect(asked()).toEqual([false, true, false]);
    await expect(skewed(-45_000, { fetch: behindTls }).fetch(origin)).rejects.toMatchObject({
      code: 'clock_skew_too_large',
    });
  });

  it('by more than any server remembers is answer_unproven over http, and the error says what it would mean', async () => {
    const told: ClientRefusal[] = [];
    const client = skewed(-400_000, { onRefusal: (refusal) => void told.push(refusal) });
    await expect(client.fetch(server.origin)).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'timestamp_out_of_range',
    });
    expect(told).toMatchObject([{ code: 'answer_unproven' }]);
    expect(server.seen).toHaveLength(1);
  });

  it('a stream is sent once, and the next request has the right time', async () => {
    const client = skewed(-60_000);
    const body = new Blob(['x']).stream();
    const init = { method: 'POST', body, headers: { 'content-digest': DIGEST_OF_X } };
    const response = await client.fetch(server.origin, init);
    expect([response.status, provenBy(response)?.target]).toEqual([401, provingTarget.deviceId]);
    expect((await client.fetch(server.origin)).status).toBe(200);
    expect(server.done).toEqual(['']);
  });

  it('the refused request is never carried out, not even when its time has come', async () => {
    let nowMs = Date.now();
    const now = () => nowMs;
    server.use({ now, nonceStore: new InMemoryNonceStore({ now, startedAt: 1 }) });
    const client = skewed(60_000);
    await client.fetch(server.origin, { method: 'POST', body: 'pay' });
    const [{ headers }] = server.seen as [(typeof server.seen)[0]];
    nowMs += 60_000;
    const again = await fetch(server.origin, {
      method: 'POST',
      body: 'pay',
      headers: { ...headers } as never,
    });
    expect(again.status).toBe(401);
    expect(server.done).toEqual(['pay']);
  });
});

it('a streamed request whose clock cannot be corrected discards the body of its refusal', async () => {
  let isGivenUp = false;
  const headers = {
    'www-authenticate': 'AuthMesh error="timestamp_out_of_range"',
    date: new Date(Date.now() + 100_000).toUTCString(),
  };
  const refusing = async () =>
    new Response(
      new ReadableStream({
        cancel() {
          isGivenUp = true;
        },
      }),
      { status: 401, headers },
    );
  const client = askingClient({ fetch: refusing, answers: 'off' });
  const body = new Blob(['x']).stream();
  const init = { method: 'POST', body, headers: { 'content-digest': DIGEST_OF_X } };
  await expect(client.fetch('https://api.example.com/', init)).rejects.toMatchObject({
    code: 'clock_skew_too_large',
  });
  expect(isGivenUp).toBe(true);
});

describe('a proven refusal of the time that comes', () => {
  /** A client whose clock is a minute ahead, and what it waits for takes as long as is said. */
  function waiting() {
    let waitedMs = 0;
    const now = () => Date.now() + 60_000 + waitedMs;
    const wait = (ms: number) => {
      waitedMs += ms;
    };
    return { now, wait };
  }

  it('immediately after a request that waited for its key corrects the clock', async () => {
    const { now, wait } = waiting();
    const device = await signerOf('controller');
    const worker = withWorkingKey({
      publicKey: device.publicKey,
      sign(message: Uint8Array) {
        wait(12_000); // until somebody has touched it
        return device.sign(message);
      },
    });
    const client = askingClient({ now }, () => worker);
    expect((await client.fetch(server.origin, { method: 'POST', body: 'pay' })).status).toBe(200);
    expect(server.done).toEqual(['pay']);
  });

  it('immediately after a request with the time and nonce of an earlier one counts from the earlier one', async () => {
    const { now, wait } = waiting();
    const options = { now, targetOf: () => provingTarget };
    const request = await createPreparer(readOptions({ ...options, signer: () => signerOf('controller') }))(
      server.origin,
      { method: 'POST', body: 'pay' },
    );
    server.holder = async () => ({ status: 401, headers: [], body: Buffer.alloc(0) });
    const error = await request.send().catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'answer_unproven' });
    wait(12_000);
    server.holder = undefined;
    await expect(request.sendInstead(error)).rejects.toMatchObject({
      code: 'answer_unproven',
      detail: expect.stringContaining('more than 10 s after the request'),
    });
    expect(server.done).toEqual([]);
  });
});

const DIGEST_OF_X = 'sha-256=:LXEWQrcmsEQBYnyp++6wy9chTD7GQPMTbAiWHF5IaSE=:';
