import { setTimeout as sleep } from 'node:timers/promises';
import { createVerifier, type NonceStore, type RequestView, type Verifier } from '@authmesh/sdk/core';
import { signed } from './core';
import { times } from './full';
import { vectorAllowList } from './vectors';
import { SOON } from './waiting';

/** A round leaves as much to the next ones. */
const ROUNDS = times(2, 1);
/** How many of the newest requests are sent again in a round, and how many of all. */
const AGAIN = times(5, 10);

/** Somebody who records what is let in, and sends it again to all instances, all the time. */
export interface Replayer {
  /** One more instance of the target. */
  add(store: NonceStore): void;
  /** How many requests were let in, once at least. */
  readonly recorded: number;
  /** Sends all that was recorded to all instances, and gives how many were let in again so far. */
  secondOnes(): Promise<number>;
  /** Waits until each instance lets in what is new. */
  recovered(waitMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export function startReplayer(): Replayer {
  const verifiers: Verifier[] = [];
  const records: { view: RequestView; atMs: number }[] = [];
  let second = 0;
  let isOver = false;
  const isLetIn = async (verifier: Verifier, view: RequestView) => (await verifier.verify({ ...view })).ok;
  const sign = () => signed({}, { created: Math.floor(Date.now() / 1000) });

  async function sendNew(verifier: Verifier): Promise<boolean> {
    const view = await sign();
    if (!(await isLetIn(verifier, view))) return false;
    records.push({ view, atMs: Date.now() });
    return true;
  }

  async function sendAgain(some: readonly { view: RequestView }[]): Promise<void> {
    const answers = verifiers.flatMap((verifier) => some.map(({ view }) => isLetIn(verifier, view)));
    second += (await Promise.all(answers)).filter(Boolean).length;
  }

  async function run(): Promise<void> {
    for (let round = 0; !isOver; round++) {
      await Promise.all(verifiers.filter((_, i) => (i + round) % ROUNDS === 0).map(sendNew));
      // The newest ones, and some of all.
      const some = records.filter((_, i) => (i + round) % 50 === 0).slice(-AGAIN);
      if (round % ROUNDS === 0) await sendAgain([...records.slice(-AGAIN), ...some]);
      await sleep(times(150, 80, 20));
    }
  }

  const running = run();
  return {
    add(store) {
      const allowList = { ...vectorAllowList, hosts: ['api.example.com'] };
      verifiers.push(createVerifier({ allowList, nonceStore: store }));
    },
    get recorded() {
      return records.length;
    },
    async secondOnes() {
      await sendAgain(records.filter(({ atMs }) => Date.now() - atMs < 40_000));
      return second;
    },
    async recovered(waitMs = 6 * SOON) {
      for (const verifier of verifiers) {
        for (const endsAt = Date.now() + waitMs; !(await sendNew(verifier)); await sleep(times(100, 20))) {
          if (Date.now() > endsAt) throw new Error('An instance lets nobody in any more.');
        }
      }
    },
    async stop() {
      isOver = true;
      await running;
    },
  };
}
