import { type Amesh, type AmeshOptions, createAmesh } from '@authmesh/sdk';
import { readRotationFile, revokeDevice, rotateKey } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, vi } from 'vitest';
import { createLoopbackDispatcher, fetchWith } from '../support/dispatcher';
import { type Listed, meet, noteOf } from './targets';

/** What anybody can write. */
function refusal(code: string): Response {
  return new Response('{}', { status: 401, headers: { 'www-authenticate': `AuthMesh error="${code}"` } });
}

export interface Start extends Listed {
  readonly options?: AmeshOptions;
  /** What the folder says of the target. */
  readonly state: 'accepted' | 'waiting';
  /** Whether proofs are taken out of all answers; default false. */
  readonly strips?: boolean;
}

/** A caller that rotates, over plain http to a name that is not loopback, with somebody in between. */
async function start(dispatcher: object, { options, state, strips = false, ...listed }: Start) {
  const logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const { dir, caller, target, close } = await meet({ name: 'orders.example', ...listed });
  const rotating = await rotateKey(dir, {});
  if (state === 'accepted') await target.know(rotating.identity);
  await noteOf(dir, target, { state, isProven: true, at: 0 });
  const between = { forges: '' };
  const asked: boolean[] = [];
  const fetch: typeof globalThis.fetch = async (input, init) => {
    if (between.forges !== '') return refusal(between.forges);
    asked.push(new Headers(init?.headers).has('accept-signature'));
    const response = await fetchWith(dispatcher as never)(String(input).replace('https:', 'http:'), init);
    if (!strips) return response;
    const headers = new Headers(response.headers);
    headers.delete('signature');
    return new Response(response.body, { status: response.status, headers });
  };
  const amesh: Amesh = createAmesh({ dir, env: {}, onRefusal: () => {}, fetch, ...options });
  const keyOf = (id: string | undefined) => (id === rotating.rotation.next.deviceId ? 'next' : 'former');
  return {
    close,
    dir,
    amesh,
    /** Sends as the caller does: over http, and to this machine, whatever the URL. */
    fetch,
    /** Which requests have asked for a proof. */
    asked,
    target,
    between,
    logged,
    rotating,
    /** What came, in order: the status, and which key signed it. */
    came: () => target.received.map(({ status, signedBy }) => `${status} ${keyOf(signedBy)}`),
    call: async (init?: RequestInit) => {
      try {
        return (await amesh.fetch(target.url, init)).status;
      } catch (error) {
        return (error as { code: string }).code;
      }
    },
    stateNow: async () => (await readRotationFile(caller.store))?.targets[target.device.identity.deviceId],
  };
}

export type Between = Awaited<ReturnType<typeof start>>;

/** Starts callers and their targets, each with somebody in between, and ends them after each test. */
export function useBetween(): (how: Start) => Promise<Between> {
  let dispatcher: Awaited<ReturnType<typeof createLoopbackDispatcher>>;
  let close = async () => {};
  beforeAll(async () => {
    dispatcher = await createLoopbackDispatcher();
  });
  afterAll(() => dispatcher.close());
  afterEach(async () => {
    vi.restoreAllMocks();
    await close();
    close = async () => {};
  });
  return async (how) => {
    const started = await start(dispatcher, how);
    close = started.close;
    return started;
  };
}

/** Takes one of the two keys out of the list of the target. */
export async function forget({ target, rotating }: Between, which: 'former' | 'next'): Promise<void> {
  const { former, next } = rotating.rotation;
  const { deviceId } = which === 'former' ? former : next;
  await target.device.trust.update((draft) => revokeDevice(draft, deviceId, 1));
  await new Promise((resolve) => setTimeout(resolve, 300)); // the server looks at its list at most so late
}
