import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signRequest } from '@authmesh/sdk/core';
import { expect } from 'vitest';
import { ensureBuilt } from '../support/built';
import type { Child } from '../support/child';
import { type Fleet, HOST, startFleet, until } from '../support/fleet';
import { times } from '../support/full';
import { Machine, objectOf } from './amesh';

export const PASSED = '200 passed';
/** Instances behind the name. */
export const SIZE = times(2, 4);
/** Some 50 requests a second. */
const EVERY_MS = 20;
const MOST_REQUESTS = 20_000;

export type Variables = Record<string, string>;

/** Instances behind one name that are redeployed one by one, under requests that never stop. */
export class Deployment {
  readonly refused: string[] = [];
  sent = 0;
  readonly active: Child[] = [];
  #isOver = false;
  #running: Promise<void> = Promise.resolve();
  readonly #open = new Map<Child, Set<Promise<unknown>>>();

  constructor(
    readonly fleet: Fleet,
    /** The device ID of the target, which the caller signs. */
    readonly target: string,
  ) {}

  async send(to: Child): Promise<string> {
    const options = { targetDeviceId: this.target };
    const { headers } = await signRequest(new Request(`http://${HOST}/`), this.fleet.signer, options);
    return this.fleet.send(to, { headers: Object.fromEntries(headers) });
  }

  /** @param env of the instance with this number */
  async deploy(env: (index: number) => Variables): Promise<void> {
    for (let index = 0; index < SIZE; index++) {
      const next = await this.fleet.start(env(index));
      expect(await until(PASSED, () => this.send(next)), next.stderr()).toBe(PASSED);
      const old = this.active[index];
      this.active[index] = next;
      if (old === undefined) continue;
      await Promise.all(this.#open.get(old) ?? []);
      old.kill('SIGTERM');
      await old.ended;
    }
  }

  begin(): void {
    this.#running = this.#load();
  }

  /** @param least how many requests to send before: a fast machine redeploys in the time of a few */
  async end(least = 0): Promise<void> {
    while (this.sent < least) await sleep(EVERY_MS);
    this.#isOver = true;
    await this.#running;
    await Promise.all([...this.#open.values()].flatMap((each) => [...each]));
  }

  async #load(): Promise<void> {
    while (!this.#isOver && this.sent < MOST_REQUESTS) {
      const to = this.active[this.sent++ % SIZE] as Child;
      const open = this.#open.get(to) ?? new Set();
      this.#open.set(to, open);
      const request = this.send(to).then(
        (answer) => answer === PASSED || this.refused.push(answer),
        (error) => this.refused.push(String(error)),
      );
      open.add(request);
      request.finally(() => open.delete(request));
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }
}

/** What moves, and to whom. */
export interface Move {
  readonly fleet: Fleet;
  readonly owner: string;
  readonly next: string;
  readonly list: string;
  /** The machine of the former owner, and that of the next one. */
  readonly former: Machine;
  readonly admin: Machine;
}

export async function prepare(env: Variables): Promise<Move> {
  await ensureBuilt();
  const fleet = await startFleet(0, env);
  const admin = new Machine(join(fleet.root, 'next'));
  const made = objectOf(await admin.amesh(['init', '--name', 'next', '--json']));
  return {
    fleet,
    owner: fleet.ownerKey,
    next: made.publicKey as string,
    list: (await fleet.open()).identity.deviceId,
    former: new Machine(fleet.targetDir),
    admin,
  };
}
