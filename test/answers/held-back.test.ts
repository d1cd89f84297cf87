import type { NonceStore } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { askingClient, sendOn, useProvingServer } from '../support/proving-server';

const server = useProvingServer();

/** Forgets as early as it may: 10 s after the last verifier that shares it would accept a request, or after a minute. */
class ForgetfulStore implements NonceStore {
  readonly startedAt = 1;
  readonly #untilMs = new Map<string, number>();

  constructor(readonly now: () => number) {}

  widestSkew(seconds: number): number {
    return seconds;
  }

  async claim(deviceId: string, nonce: string, keepUntilMs: number): Promise<boolean> {
    const known = this.#untilMs.get(deviceId + nonce) ?? 0;
    this.#untilMs.set(deviceId + nonce, keepUntilMs);
    return known <= this.now();
  }
}

/** A server and a client with one clock, and somebody in between who waits, and then sends each request again. */
function holdFor(waitMs: number) {
  let nowMs = Date.now();
  const now = () => nowMs;
  server.reset();
  server.use({ now, nonceStore: new ForgetfulStore(now) });
  server.hands = async (_carriedOut, request) => {
    server.hands = (answer) => answer;
    nowMs += waitMs;
    return sendOn(server.farPort, request, Buffer.from('{}'));
  };
  return askingClient({ now });
}

const post = { method: 'POST', body: '{}' };

describe('a request that was carried out, whose answer is held back until its nonce is forgotten', () => {
  it('is not repeated when the same request is then refused for its time, with proof', async () => {
    const client = holdFor(80_000);
    await expect(client.fetch(server.origin, post)).rejects.toMatchObject({
      code: 'answer_unproven',
      status: 401,
      detail: expect.stringContaining('more than 10 s after the request'),
    });
    expect(server.done).toEqual(['{}']);
  });

  it('is a replay while the nonce is remembered, so it is not refused with a proof', async () => {
    const client = holdFor(9_000);
    await expect(client.fetch(server.origin, post)).rejects.toMatchObject({ code: 'answer_unproven' });
    expect(server.done).toEqual(['{}']);
  });
});

describe('a client whose clock is wrong', () => {
  it.each([60, 270, -31, -270])(
    'by %i s sends a request once more, which is carried out once',
    async (seconds) => {
      server.reset();
      const client = askingClient({ now: () => Date.now() + seconds * 1000 });
      const response = await client.fetch(server.origin, post);
      expect(response.status).toBe(200);
      expect(server.done).toEqual(['{}']);
    },
  );
});
