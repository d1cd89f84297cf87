import { InMemoryNonceStore, isAmeshError, provenBy } from '@authmesh/sdk/core';
import { beforeEach, expect, it } from 'vitest';
import { times } from '../support/full';
import { askingClient, type Passing, useProvingServer } from '../support/proving-server';

const server = useProvingServer();
beforeEach(() => server.reset());

const CASES = times(50, 200, 10_000);

/** Numbers from 0 to 1, always the same for a seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const REFUSALS = ['unauthorized', 'timestamp_out_of_range', 'device_expired'] as const;

/** What the one in the middle answers in place of the server. */
function forge(random: () => number, nowMs: number, recorded: readonly Passing[]): Passing {
  const pick = Math.floor(random() * 6);
  const old = recorded[Math.floor(random() * recorded.length)];
  if (pick === 0 && old !== undefined) return old;
  const headers: [string, string][] = [['date', new Date(nowMs + (random() - 0.5) * 600_000).toUTCString()]];
  const answer = { status: 401, headers, body: Buffer.from('{"error":"x"}') };
  if (pick === 1) return { ...answer, status: 503 };
  if (pick === 2) return { ...answer, status: 307, headers: [...headers, ['location', '/pay']] };
  if (pick === 3) return { ...answer, status: 421, stream: inTwo() };
  if (pick === 4) return { ...answer, status: 200 };
  const code = REFUSALS[Math.floor(random() * REFUSALS.length)] as string;
  return { ...answer, headers: [...headers, ['www-authenticate', `AuthMesh error="${code}"`]] };
}

async function* inTwo() {
  yield Buffer.from('{"error":');
  await new Promise((resolve) => setTimeout(resolve, 5)); // sooner, both parts would arrive as one
  yield Buffer.from('"wrong_host"}');
}

/** Pays, and sends again what was refused for certain, up to three times. */
async function pay(
  client: ReturnType<typeof askingClient>,
  id: string,
): Promise<'paid' | 'refused' | 'unknown'> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const response = await client.fetch(`${server.origin}/pay`, { method: 'POST', body: id });
      const text = await response.text();
      if (provenBy(response) === undefined) throw new Error('An answer was taken that nothing proves.');
      if (text === `paid ${id}`) return 'paid';
    } catch (error) {
      if (isAmeshError(error) || error instanceof TypeError) return 'unknown';
      throw error;
    }
  }
  return 'refused';
}

/** @returns how often the payment was carried out, and what its caller knows */
async function runCase(seed: number): Promise<{ paid: number; known: string }> {
  const random = randomOf(seed);
  let nowMs = Date.now();
  const now = () => nowMs;
  server.use({ now, nonceStore: new InMemoryNonceStore({ now, startedAt: 1 }) });
  server.done.length = 0;
  const held: (() => Promise<Passing>)[] = [];
  const recorded: Passing[] = [];
  const later = async () => {
    for (const deliver of held) if (random() < 0.5) recorded.push(await deliver());
  };
  server.holder = async (deliver) => {
    held.push(deliver);
    const choice = random();
    if (choice < 0.25) nowMs += random() * 90_000;
    if (choice < 0.1) await later();
    if (random() < 0.2) throw new Error('It breaks the connection, and keeps the request.');
    const answer = random() < 0.7 ? await deliver() : forge(random, nowMs, recorded);
    recorded.push(answer);
    if (random() < 0.15) recorded.push(await deliver());
    if (random() < 0.15) throw new Error('It breaks the connection.');
    return random() < 0.25 ? forge(random, nowMs, recorded) : answer;
  };
  const skewMs = (random() - 0.5) * 400_000;
  const client = askingClient({ now: () => nowMs + skewMs });
  const known = await pay(client, String(seed));
  for (let i = 0; i < 3; i++) {
    nowMs += random() * 120_000; // until everything that was held can have its time
    for (const deliver of held) await deliver();
  }
  return { paid: server.done.length, known };
}

it(
  `nothing is paid twice with somebody in the middle who holds, drops, forges and replays: ${CASES} cases`,
  async () => {
    server.routes.set('/pay', (_request, body) => ({ body: `paid ${Buffer.from(body)}` }));
    const seen = new Map<string, number>();
    for (let seed = 1; seed <= CASES; seed++) {
      const { paid, known } = await runCase(seed);
      expect(paid, `seed ${seed}`).toBeLessThanOrEqual(1);
      if (known === 'paid') expect(paid, `seed ${seed}`).toBe(1);
      if (known === 'refused') expect(paid, `seed ${seed}`).toBe(0);
      seen.set(`${known} ${paid}`, (seen.get(`${known} ${paid}`) ?? 0) + 1);
    }
    // All ends that there are have occurred.
    expect([...seen.keys()].sort()).toEqual(expect.arrayContaining(['paid 1', 'unknown 0', 'unknown 1']));
  },
  CASES * 300 + 300_000,
);
