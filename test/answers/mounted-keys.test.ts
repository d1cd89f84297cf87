import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type Env, issueAnswerKey, openDevice } from '@authmesh/sdk/admin';
import type { Verifier } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { createServerVerifier } from '@authmesh/sdk/workers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { asking, checked } from '../support/proofs';

const DAY = 86_400;

let root: string;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(async () => {
  vi.useRealTimers();
  logged.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const lines = (): string[] => callsOf(logged).map(([line]: unknown[]) => String(line));

/** The machine whose key seals the list, its caller, and the variables of an instance that only reads the list. */
async function owner() {
  const dir = join(root, 'owner');
  const { deviceId, publicKey } = await createIdentity(dir, {}, { friendlyName: 'orders-api' });
  const caller = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
  const { trust, signer } = await openDevice(dir, {});
  await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  const by = (await openDevice(join(root, 'caller'), {})).signer;
  const list = await readFile(join(dir, 'allow_list.json'), 'utf8');
  const copy = join(root, 'copy');
  await mkdir(copy, { mode: 0o700 });
  await writeFile(join(copy, 'allow_list.json'), list);
  const key = await nodeCrypto.importPublicKey(signer.publicKey);
  return {
    dir,
    copy,
    deviceId,
    signer,
    env: { AMESH_OWNER_KEY: publicKey, AMESH_ALLOW_LIST: list } as Env,
    issue: async (days = 30, now = Date.now) =>
      (await issueAnswerKey(signer, { lifetimeSeconds: days * DAY, now })).text,
    /** How the answer to a request that asks is proven. */
    async ask(verifier: Verifier) {
      const { request, expected } = await asking({}, { signer: by, created: Math.floor(Date.now() / 1000) });
      const verdict = await verifier.verify(request);
      if (!verdict.ok) throw new Error(JSON.stringify(verdict));
      const answer = { status: 200, headers: { 'content-type': 'text/plain' }, body: Buffer.from('hello') };
      const added = await verdict.proof?.sign(answer);
      const received = { ...answer, headers: { ...answer.headers, ...added } };
      return (await checked(received, { ...expected, deviceId, key })).proof;
    },
  };
}
type Owner = Awaited<ReturnType<typeof owner>>;

const authority = 'api.example.com';

/** An instance with only the public key, in each of the ways to make one. */
const INSTANCES: [string, (owner: Owner, env: Env) => Verifier][] = [
  ['createAmesh()', ({ copy: dir }, env) => createAmesh({ dir, env }).verifier({ authority })],
  ['createServerVerifier()', (_, env) => createServerVerifier({ authority }, env)],
];

describe.each(INSTANCES)('An instance of %s with only the public key', (_, instance) => {
  it('signs answers with the key in AMESH_ANSWER_KEY', async () => {
    const target = await owner();
    const env = { ...target.env, AMESH_ANSWER_KEY: await target.issue() };
    expect(await target.ask(instance(target, env))).toBe('proven');
    expect(lines().join()).not.toMatch(/cannot prove|ends within/);
  });

  it('says once that it cannot prove its answers without such a key', async () => {
    const target = await owner();
    expect(await target.ask(instance(target, target.env))).toBe('it has no signature of amesh');
    instance(target, target.env);
    const told = lines().filter((line) => line.includes('cannot prove its answers'));
    expect(told.length).toBeLessThanOrEqual(1); // once in a process, whatever instance
  });

  it.each([
    ['empty', async () => ''],
    ['another text', async () => 'hunter2'],
    ['cut short', async (text: string) => text.slice(0, -1)],
    ['with more after it', async (text: string) => `${text}.${'A'.repeat(44)}`],
    ['a delegation', async (text: string) => text.replace('answer_key', 'delegation')],
  ])('does not start with a key that is %s, and does not repeat it', async (_what, change) => {
    const target = await owner();
    const text = await change(await target.issue());
    const start = () => instance(target, { ...target.env, AMESH_ANSWER_KEY: text });
    expect(start).toThrow(/^AMESH_ANSWER_KEY is (?:empty|malformed)\. /);
    if (text === '') return;
    expect(start).not.toThrow(new RegExp(text.slice(0, 60)));
  });

  it('does not start with a key of another target', async () => {
    const target = await owner();
    const other = join(root, 'other');
    const { deviceId } = await createIdentity(other, {}, { friendlyName: 'other' });
    const { signer } = await openDevice(other, {});
    const { text } = await issueAnswerKey(signer, { lifetimeSeconds: DAY });
    expect(() => instance(target, { ...target.env, AMESH_ANSWER_KEY: text })).toThrow(
      `AMESH_ANSWER_KEY belongs to ${deviceId}, and this instance reads the list of ${target.deviceId}.`,
    );
  });

  it('sends answers unsigned with a statement that somebody else signed, or with another private key', async () => {
    const target = await owner();
    const jwk = await nodeCrypto.generatePrivateKey();
    const forger = await nodeCrypto.importPrivateKey(jwk);
    const { text } = await issueAnswerKey(
      { ...forger, publicKey: target.signer.publicKey },
      { lifetimeSeconds: DAY },
    );
    const swapped = (await target.issue()).replace(/_key_[\w-]{43}/, `_key_${jwk.d}`);
    for (const wrong of [text, swapped]) {
      const verifier = instance(target, { ...target.env, AMESH_ANSWER_KEY: wrong });
      expect(await target.ask(verifier)).toBe('it has no signature of amesh');
    }
    expect(lines().join()).toContain('AMESH_ANSWER_KEY was changed.');
    expect(lines().join()).not.toContain(jwk.d);
  });

  it('warns before the end of its key, and sends answers unsigned after it', async () => {
    const target = await owner();
    const start = Date.now();
    const text = await target.issue(30);
    vi.useFakeTimers({ toFake: ['Date'], now: start });
    const verifier = instance(target, { ...target.env, AMESH_ANSWER_KEY: text });
    const told = () => lines().filter((line) => line.includes(until));
    const until = new Date((Math.floor(start / 1000) + 30 * DAY) * 1000).toISOString().slice(0, 10);
    expect(told()).toEqual([]);
    for (const [days, proof, count] of [
      [17, 'proven', 1],
      [17.5, 'proven', 1],
      [24, 'proven', 2],
      [29.5, 'proven', 3],
      [30.1, 'it has no signature of amesh', 4],
      [31, 'it has no signature of amesh', 4],
    ] as const) {
      vi.setSystemTime(start + days * DAY * 1000);
      expect([days, await target.ask(verifier), told().length]).toEqual([days, proof, count]);
    }
    expect(told()).toEqual([
      expect.stringContaining('AMESH_ANSWER_KEY ends within 14 days, at'),
      expect.stringContaining('AMESH_ANSWER_KEY ends within 7 days, at'),
      expect.stringContaining('AMESH_ANSWER_KEY ends within 1 day, at'),
      expect.stringMatching(/AMESH_ANSWER_KEY ended at .*\. Answers go out unsigned/),
    ]);
  });
});

describe('The answer key in process.env', () => {
  const before = process.env;
  afterEach(() => {
    process.env = before;
  });

  it.each([
    ['createAmesh()', ({ copy }: Owner) => createAmesh({ dir: copy }).verifier({ authority })],
    [
      'createServerVerifier()',
      ({ env }: Owner) => createServerVerifier({ authority, allowList: env.AMESH_ALLOW_LIST }),
    ],
  ])('is removed by %s, and found by the next instance', async (_, instance) => {
    const target = await owner();
    process.env = { ...before, ...target.env, AMESH_ANSWER_KEY: await target.issue() };
    expect(await target.ask(instance(target))).toBe('proven');
    expect(process.env.AMESH_ANSWER_KEY).toBeUndefined();
    expect(await target.ask(instance(target))).toBe('proven');
  });
});

describe('An instance with the key of the list', () => {
  it('signs with that key, and says that it does not use AMESH_ANSWER_KEY', async () => {
    const target = await owner();
    const env = { AMESH_ANSWER_KEY: await target.issue() };
    expect(await target.ask(createAmesh({ dir: target.dir, env }).verifier({ authority }))).toBe('proven');
    expect(lines()).toContainEqual(expect.stringContaining('AMESH_ANSWER_KEY is not used'));
  });

  it('signs with that key even if AMESH_OWNER_KEY names it, with a second key', async () => {
    const target = await owner();
    const { publicKey } = await createIdentity(join(root, 'next'), {}, { friendlyName: 'next' });
    const env = { AMESH_OWNER_KEY: `${target.env.AMESH_OWNER_KEY},${publicKey}` };
    expect(await target.ask(createAmesh({ dir: target.dir, env }).verifier({ authority }))).toBe('proven');
  });
});
