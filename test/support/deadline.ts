import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { signRequest } from '@authmesh/sdk/core';
import { RedisNonceStore, type RedisNonceStoreOptions } from '@authmesh/sdk/redis';
import { afterAll, expect } from 'vitest';
import { type Listening, listen } from './listen';
import { cpuMs, StolenTime } from './pauses';
import { type RedisServer, startRedis } from './redis';

const DEADLINE_MS = 250;
/** What the rest of a refusal may take. */
const REST_MS = 100;
const EVERY_MS = 60;
/** More than can wait at a time where each answer is in time; else a machine that is busy never catches up. */
const MOST_WAITING = 12;
/** For a case, which waits for a Redis and for a list before it measures. */
export const PATIENTLY = { timeout: 300_000 };

const stolen = new StolenTime();
let plain: Promise<Listening> | undefined;
afterAll(async () => {
  stolen.stop();
  await (await plain)?.close();
});

/**
 * How late a server beside the instance answers that waits for the deadline, and for nothing else: packets and disks make a process
 * wait too, for which no count tells. What this process computes while it is late does not count, or a refusal might block it.
 */
async function plainLateMs(): Promise<number> {
  plain ??= listen(
    createServer(async (_, response) => {
      await sleep(DEADLINE_MS);
      response.end();
    }),
  );
  const { port } = await plain;
  const dueAt = performance.now() + DEADLINE_MS;
  let cpu = cpuMs();
  const timer = setInterval(() => {
    if (performance.now() < dueAt) cpu = cpuMs();
  }, 5);
  await exchange(port, { connection: 'close' });
  clearInterval(timer);
  return performance.now() - dueAt - (cpuMs() - cpu);
}

/** One request that is new, by a device that is trusted. */
interface Sample {
  readonly status: number;
  readonly body: string;
  readonly tookMs: number;
  /** For how much of it the machine let this process wait. */
  readonly stolenMs: number;
}

export type Call = () => Promise<Sample>;

/** Ends what a test has begun, the last first. */
export type Later = (end: () => Promise<void>) => void;

/** An instance in this process, whose event loop is that of the test: where the one is late, the other is. */
export async function makeTarget(later: Later, env: Record<string, string> = {}) {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  later(() => rm(root, { recursive: true, maxRetries: 20 }));
  const [dir, callerDir] = [join(root, 'target'), join(root, 'caller')];
  await createIdentity(dir, env, { friendlyName: 'api' });
  const caller = await createIdentity(callerDir, {}, { friendlyName: 'caller' });
  const { trust } = await openDevice(dir, env);
  await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  const { signer } = await openDevice(callerDir, {});

  return async (more: Record<string, string>, nonces?: RedisNonceStoreOptions): Promise<Call> => {
    const nonceStore = nonces && new RedisNonceStore(nonces);
    const verify = createAmesh({ dir, env: { ...env, ...more }, nonceStore, hosts: ['api'] }).verify();
    const server = await listen(
      createServer((request, response) => verify(request, response, () => response.end())),
    );
    later(async () => {
      await server.close();
      await nonceStore?.close();
    });
    return async () => {
      const signed = await signRequest(new Request('http://api/'), signer);
      const headers = { ...Object.fromEntries(signed.headers), host: 'api', connection: 'close' };
      return ask(server, headers);
    };
  };
}

async function ask({ port }: Listening, headers: Record<string, string>): Promise<Sample> {
  const late = plainLateMs();
  const [startedAt, stolenBefore] = [performance.now(), stolen.ms];
  const { status, body } = await exchange(port, headers);
  const tookMs = performance.now() - startedAt;
  const stolenMs = stolen.ms - stolenBefore;
  return { status, body, tookMs, stolenMs: Math.max(stolenMs, await late) };
}

async function exchange(port: number, headers: Record<string, string>) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ port, host: '127.0.0.1', headers, agent: false }, resolve).on('error', reject);
  });
  const body = await text(response);
  return { status: response.statusCode ?? 0, body };
}

/** Calls again and again until it is over, whatever has become of the calls before. */
async function callUntil(isOver: (last: Sample | undefined) => boolean, call: Call): Promise<Sample[]> {
  const samples: Sample[] = [];
  const waiting = new Set<Promise<void>>();
  for (; !isOver(samples.at(-1)); await sleep(EVERY_MS)) {
    if (waiting.size >= MOST_WAITING) await Promise.race(waiting);
    const one: Promise<void> = call().then((sample) => {
      samples.push(sample);
      waiting.delete(one);
    });
    waiting.add(one);
  }
  await Promise.all(waiting);
  return samples;
}

export function callFor(ms: number, call: Call): Promise<Sample[]> {
  const endsAt = performance.now() + ms;
  return callUntil(() => performance.now() >= endsAt, call);
}

export async function untilPassed(call: Call, waitMs = 60_000): Promise<Sample[]> {
  const endsAt = performance.now() + waitMs;
  const samples = await callUntil((last) => last?.status === 200 || performance.now() >= endsAt, call);
  expect(samples.some(({ status }) => status === 200)).toBe(true);
  return samples;
}

/** Asserts that each refusal came in time, but for the time that the machine gave to others. */
export function expectInTime(what: string, samples: readonly Sample[], answers = /unavailable/): void {
  const refused = samples.filter(({ status }) => status !== 200);
  expect(refused.length).toBeGreaterThan(0);
  const took = refused.map(({ tookMs, stolenMs }) => Math.round(tookMs - stolenMs)).sort((a, b) => a - b);
  console.log(`${what}: median ${took[took.length >> 1]} ms, worst ${took.at(-1)} ms of ${took.length}`);
  const late = refused
    .filter(({ tookMs, stolenMs }) => tookMs - stolenMs > DEADLINE_MS + REST_MS)
    .map(({ body, tookMs, stolenMs }) => `${body} ${Math.round(tookMs)} ms, ${Math.round(stolenMs)} stolen`);
  expect(late).toEqual([]);
  for (const { body } of refused) expect(body).toMatch(answers);
}

/** Nonces and list in one Redis. */
export async function startBoth(later: Later, toUrl = async ({ url }: RedisServer) => url) {
  const redis = await startRedis();
  later(() => redis.stop());
  const url = await toUrl(redis);
  const start = await makeTarget(later, { AMESH_STORE_URL: url, REDIS_URL: url });
  const call = await start({});
  await untilPassed(call);
  return { redis, start, call };
}

export const RECOVERING = /unavailable|timestamp_out_of_range/;
