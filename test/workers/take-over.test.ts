import { createClient } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { signerOf } from '../support/core';
import type { RuntimeServer } from '../support/runtime-server';
import { vectors } from '../support/vectors';
import { type Kv, startKv, startWorker } from '../support/worker';
import { runtime } from './workerd';

/** A list in KV moves to its next owner, under requests that never stop, while four Workers are redeployed one by one. */

const { controller, target: owner, stranger: next } = vectors.devices;
const SIZE = 4;
/** Some 50 requests a second. */
const EVERY_MS = 20;
const MOST_REQUESTS = 20_000;
/** A list is read about every second, and one that cannot be read counts for so long. */
const MAX_STALE = '6';

const KEYS = {
  former: { AMESH_OWNER_KEY: owner.publicKey },
  both: { AMESH_OWNER_KEY: `${owner.publicKey},${next.publicKey}` },
  next: { AMESH_OWNER_KEY: next.publicKey, AMESH_DEVICE_ID: owner.deviceId },
};

describe.skipIf(runtime === null)('a list in KV that moves to its next owner', () => {
  let kv: Kv;
  const running: { close(): Promise<unknown> }[] = [];
  const active: RuntimeServer[] = [];
  const refused: string[] = [];
  let call: (worker: RuntimeServer) => Promise<number>;
  let sent = 0;
  let isOver = false;
  let load: Promise<unknown>;

  const start = async (variables: Record<string, string>, script?: string): Promise<RuntimeServer> => {
    const isAdministrator = script !== undefined;
    const worker = await startWorker(
      isAdministrator ? variables : { ...variables, MAX_STALE },
      isAdministrator ? { kv, script, hasNode: true } : { kv },
    );
    running.push(worker);
    return worker;
  };
  const administrator = (by: { readonly privateKeyJwk: object }, keys: { AMESH_OWNER_KEY: string }) =>
    start(
      { ...keys, OWNER: owner.deviceId, OWNER_KEY: JSON.stringify(by.privateKeyJwk) },
      'test/workers/administrator.ts',
    );
  const ask = async (of: RuntimeServer, path: string) =>
    (await fetch(`http://127.0.0.1:${of.port}${path}`)).json();
  const statusOf = (worker: RuntimeServer, status: number) =>
    vi.waitFor(async () => expect(await call(worker), worker.stderr()).toBe(status), {
      timeout: 30_000,
      interval: 100,
    });

  /** Replaces one instance after the other. Those that follow are started before, to save time. */
  async function deploy(keys: Record<string, string>): Promise<void> {
    const later = await Promise.all(Array.from({ length: SIZE }, () => start(keys)));
    for (const [i, worker] of later.entries()) {
      await statusOf(worker, 200);
      active[i] = worker;
    }
  }

  async function callOn(): Promise<void> {
    const open = new Set<Promise<unknown>>();
    for (; !isOver && sent < MOST_REQUESTS; sent++) {
      const request = call(active[sent % SIZE] as RuntimeServer).then(
        (status) => status === 200 || refused.push(String(status)),
        (error) => refused.push(String(error)),
      );
      open.add(request);
      request.finally(() => open.delete(request));
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
    await Promise.all(open);
  }

  beforeAll(async () => {
    kv = await startKv(null);
    const client = createClient({
      signer: await signerOf('controller'),
      targetOf: () => owner.deviceId,
    });
    call = async ({ port }) => (await client.fetch(`http://127.0.0.1:${port}/`)).status;
    const former = await administrator(owner, KEYS.former);
    await ask(former, '/create');
    await ask(former, `/add?${new URLSearchParams({ ...controller, name: 'caller' } as never)}`);
    expect(await ask(former, '/fill')).toMatchObject({ revision: 3 });
    expect(kv.pages.size).toBeGreaterThan(0);
    await deploy(KEYS.former);
    load = callOn();
  });
  afterAll(async () => {
    isOver = true;
    await load;
    await Promise.all(running.map((each) => each.close()));
    await kv?.close();
  });

  it('costs no request, and the last list of the former owner is refused afterwards', async () => {
    await deploy(KEYS.both);
    const before = { head: kv.value, pages: new Map(kv.pages) };
    const taken = await ask(await administrator(next, KEYS.both), '/take-over');
    expect(taken).toMatchObject({ revision: 4 });
    const witness = active[0] as RuntimeServer;
    await deploy(KEYS.next);
    const fast = sent; // on a fast machine, all that takes half a second
    await vi.waitFor(() => expect(sent).toBeGreaterThan(Math.max(50, fast + SIZE)), 30_000);
    isOver = true;
    await load;
    expect(refused).toEqual([]);
    console.log(`${sent} requests, none refused`);
    // It reads at a request only, and its last one may be older than the take-over.
    const { reads } = kv;
    await vi.waitFor(async () => {
      expect(await call(witness)).toBe(200);
      expect(kv.reads).toBeGreaterThan(reads);
    }, 30_000);

    // An owner that was moved away from can still write into KV.
    for (const [key, page] of before.pages) kv.pages.set(key, page);
    kv.value = before.head;
    for (const worker of active) await statusOf(worker, 500); // not the key that it trusts
    await statusOf(witness, 503); // both keys, and it has seen the next one's
    await statusOf(await start(KEYS.next), 500);
    const later = await ask(await administrator(next, KEYS.next), '/read');
    expect(later).toMatchObject({ code: 'allow_list_integrity_failure' });
  });
});
