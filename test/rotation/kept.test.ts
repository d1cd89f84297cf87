import { createAmesh } from '@authmesh/sdk';
import { openDevice, readRotationFile, rotateKey, withdrawRotation } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callsOf } from '../support/calls-of';
import { usePassingTime } from '../support/passing-time';
import { meet } from './targets';

/** Withdrawals that a target does not carry out. */
let met: Awaited<ReturnType<typeof meet>>;
let logged: ReturnType<typeof vi.spyOn>;

const pass = usePassingTime();
beforeEach(async () => {
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  met = await meet();
});
afterEach(async () => {
  await met.close();
});

const targetId = () => met.target.device.identity.deviceId;
/** How many withdrawals the target has received. */
const told = () => met.target.received.filter(({ rotation }) => rotation !== undefined).length;
/** The lines of the caller that name the target. */
const lines = () =>
  callsOf(logged)
    .map(([line]: unknown[]) => String(line))
    .filter((line: string) => line.includes(targetId()));
const stateNow = async () => (await readRotationFile(met.caller.store))?.targets[targetId()]?.state;

/** A rotation that is withdrawn, and a target that answers so to the withdrawal. */
async function withdrawn(answer: string): Promise<string> {
  const { dir, target } = met;
  const { rotation } = await rotateKey(dir, {});
  target.answer = answer;
  await withdrawRotation(await openDevice(dir, {}), {});
  return rotation.next.deviceId;
}

const caller = (more: object = {}) => createAmesh({ dir: met.dir, env: {}, ...more });
async function call(amesh: ReturnType<typeof caller>): Promise<void> {
  expect((await amesh.fetch(met.target.url)).status).toBe(200);
}

describe('A withdrawal that a target does not carry out', () => {
  it.each([
    ['accepted', (nextId: string) => `amesh revoke ${nextId}`],
    ['waiting', (nextId: string) => `amesh revoke ${nextId}`],
    ['refused', () => `amesh revoke ${met.former.deviceId}`],
  ] as const)(
    'is sent again once an hour, and the log says once what to do (%s)',
    async (answer, command) => {
      const nextId = await withdrawn(answer);
      const amesh = caller();
      await call(amesh);
      await expect.poll(lines).toEqual([expect.stringContaining(command(nextId))]);
      for (let i = 0; i < 20; i++) {
        pass(60_000);
        await call(amesh);
      }
      expect([told(), lines().length]).toEqual([1, 1]);
      pass(3_600_000);
      met.target.answer = 'withdrawn';
      await call(amesh);
      expect(told()).toBe(2);
      await expect.poll(stateNow).toBe('withdrawn');
    },
  );

  it('is sent again soon if nothing proves the answer, which somebody on the way may have written', async () => {
    await withdrawn('refused');
    const stripped: typeof fetch = async (input, init) => {
      const { body, status, headers } = await fetch(input, init);
      const left = [...headers].filter(([name]) => name !== 'signature');
      return new Response(body, { status, headers: left });
    };
    const amesh = caller({ answers: 'off', fetch: stripped });
    for (let i = 0; i < 3; i++) {
      await call(amesh);
      await expect.poll(lines).toEqual([expect.stringContaining('says refused (not proven)')]);
      pass(31_000);
    }
    expect(told()).toBe(3);
  });

  it('is sent again soon if the target cannot tell', async () => {
    await withdrawn('unavailable');
    const amesh = caller();
    for (let i = 0; i < 3; i++) {
      await call(amesh);
      pass(31_000);
    }
    expect(told()).toBe(3);
  });
});
