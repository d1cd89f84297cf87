import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addDevice,
  createIdentity,
  FileStore,
  type ListHead,
  openDevice,
  readIdentity,
  resetTrust,
  toTrustLine,
} from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { KeyFiles } from '../../src/keys/key-files';
import { type Script, toScript } from '../support/child';
import { times } from '../support/full';
import { documentOf, randomId, withDevices } from '../support/list-document';

const KILL_AT_STEP = new URL('processes/kill-at-step.mjs', import.meta.url).href;
const COPY_AT_STEP = new URL('processes/copy-at-step.mjs', import.meta.url).href;
/** Which steps are tried: each nth. */
const EVERY = times(4, 1);
// Mostly they wait until the lock of a killed process is stale.
const LANES = 20;
const KILLED_AT_ONCE = 4;
const FILES = ['.passphrase', 'allow_list.json', 'identity.json', 'keys', 'seen.json'];

let root: string;
let dir: string;
let init: Script;
beforeAll(async () => {
  init = await toScript('test/trust/processes/init.ts');
});
afterAll(() => init.remove());
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'home');
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

/** Does this for each, so many at a time. */
async function inLanes<T>(
  count: number,
  items: readonly T[],
  each: (item: T) => Promise<void>,
): Promise<void> {
  const left = items.values();
  const lane = async () => {
    for (const item of left) await each(item);
  };
  await Promise.all(Array.from({ length: count }, lane));
}

describe('createIdentity', () => {
  it('makes an identity, its key and an empty list sealed for it', async () => {
    const made = await createIdentity(dir, {}, { friendlyName: ' prod\tapi ', hosts: ['api.example.com'] });
    expect(made).toMatchObject({
      friendlyName: 'prod api',
      movedTo: null,
      key: { backend: 'encrypted-file', ref: expect.stringMatching(/^keys\/.*\.pem$/) },
    });
    const { identity, trust, store } = await openDevice(dir, {});
    expect(identity).toEqual(await readIdentity(store));
    expect(await documentOf(trust)).toMatchObject({
      owner: made.publicKey,
      list: made.deviceId,
      revision: 1,
      hosts: ['api.example.com'],
      devices: [],
      tombstones: [],
    });
    expect((await readdir(dir)).sort()).toEqual(FILES);
  });

  it('does not change an existing identity', async () => {
    await createIdentity(dir, {}, { friendlyName: 'first' });
    const before = await Promise.all(FILES.map((name) => readFile(join(dir, name)).catch(() => null)));
    await expect(createIdentity(dir, {}, { friendlyName: 'second' })).rejects.toMatchObject({
      code: 'identity_exists',
      message: `There is already an identity in ${dir}. Keep it, or replace it with --force, which loses every pairing.`,
    });
    expect(await Promise.all(FILES.map((name) => readFile(join(dir, name)).catch(() => null)))).toEqual(
      before,
    );
    expect(await readdir(join(dir, 'keys'))).toHaveLength(1);
  });

  it('moves the old files aside with force, and they can be restored', async () => {
    const first = await createIdentity(dir, {}, { friendlyName: 'first' });
    const second = await createIdentity(dir, {}, { friendlyName: 'second', force: true });
    expect(second.deviceId).not.toBe(first.deviceId);
    const aside = second.movedTo as string;
    expect(aside.startsWith(join(dir, 'replaced'))).toBe(true);
    expect((await readdir(aside)).sort()).toEqual(['allow_list.json', 'identity.json', 'seen.json']);
    expect((await documentOf((await openDevice(dir, {})).trust)).list).toBe(second.deviceId);

    for (const name of await readdir(aside)) {
      await writeFile(join(dir, name), await readFile(join(aside, name)));
    }
    expect((await documentOf((await openDevice(dir, {})).trust)).list).toBe(first.deviceId);
  });

  it('gets past a damaged seen.json with force', async () => {
    await createIdentity(dir, {}, { friendlyName: 'first' });
    await writeFile(join(dir, 'seen.json'), 'damaged');
    await createIdentity(dir, {}, { friendlyName: 'second', force: true });
    await documentOf((await openDevice(dir, {})).trust);
  });

  it('leaves no key behind if it fails after it has made the key', async () => {
    const left = async () => (await readdir(join(dir, 'keys')).catch(() => [])).length;
    const nameless = { friendlyName: undefined } as unknown as { friendlyName: string };
    await expect(createIdentity(dir, {}, nameless)).rejects.toThrow();
    expect(await left()).toBe(0);

    const { locked } = FileStore.prototype;
    const slept = vi.spyOn(FileStore.prototype, 'locked').mockImplementation(function (
      this: FileStore,
      name,
      action,
    ) {
      const lost = () => {
        throw new Error('The lock was lost.');
      };
      return locked.call(this, name, () => action(lost)) as never;
    });
    await expect(createIdentity(dir, {}, { friendlyName: 'a' })).rejects.toThrow('The lock was lost.');
    slept.mockRestore();
    expect(await left()).toBe(0);

    const broken = vi.spyOn(KeyFiles.prototype, 'read').mockRejectedValueOnce(new Error('EIO: i/o error'));
    await expect(createIdentity(dir, {}, { friendlyName: 'a' })).rejects.toThrow('EIO');
    broken.mockRestore();
    expect(await left()).toBe(0);

    expect(await createIdentity(dir, {}, { friendlyName: 'a' })).toMatchObject({ friendlyName: 'a' });
    expect(await left()).toBe(1);
  });

  it.each(['first', 'with --force'])(
    'can be started again wherever it was killed: %s',
    async (kind) => {
      const isForced = kind !== 'first';
      const run = async (home: string, preload: string, env: Record<string, string>) => {
        if (isForced) await createIdentity(home, {}, { friendlyName: 'old' });
        const child = init.start([home, 'new', ...(isForced ? ['--force'] : [])], { env, preload });
        return { child, ...(await child.ended) };
      };
      const home = join(root, 'home');
      const whole = await run(home, COPY_AT_STEP, { COPIED: home, EVERY: String(EVERY) });
      expect(whole.child.lines[0], whole.child.stderr()).toMatch(/^made /);
      const count = Number(whole.child.lines[1]?.replace('steps ', ''));
      expect(count).toBeGreaterThan(20);
      const steps = Array.from({ length: count }, (_, step) => step);
      const left = steps.filter((step) => step % EVERY === 0).map((step) => `${home}-${step}`);
      // A process that is really killed leaves nothing else.
      const killed = steps
        .filter((step) => step % (4 * EVERY) === 2)
        .map((step) => ({ step, dir: `${home}-killed-${step}` }));
      await inLanes(KILLED_AT_ONCE, killed, async ({ step, dir }) => {
        const { signal } = await run(dir, KILL_AT_STEP, { KILL_AT: String(step) });
        expect(signal, dir).toBe('SIGKILL');
      });
      expect(left.filter(existsSync).length).toBeGreaterThan(left.length / 2); // until the folder is there, nothing is left
      await inLanes(LANES, [...left, ...killed.map(({ dir }) => dir)], async (dir) => {
        const again = createIdentity(dir, {}, { friendlyName: 'new', force: isForced });
        // Ended when it had done everything, it may be too late to begin.
        const begun = await again.then(
          () => 'made',
          (error) => error.code ?? error,
        );
        expect(begun, dir).toMatch(/^made$|^identity_exists$/);
        const { identity, trust } = await openDevice(dir, {});
        expect((await documentOf(trust)).list).toBe(identity.deviceId);
        if (isForced) expect(identity.friendlyName).toBe('new');
      });
    },
    300_000,
  );
});

describe('resetTrust', () => {
  it('needs an identity', async () => {
    await expect(resetTrust(dir, {})).rejects.toMatchObject({ code: 'no_identity' });
  });

  it('starts an empty list beyond every revision that anybody may have seen', async () => {
    await createIdentity(dir, {}, { friendlyName: 'server', hosts: ['api.example.com'] });
    const before = await documentOf((await openDevice(dir, {})).trust);
    await rm(join(dir, 'allow_list.json'));
    const reset = await resetTrust(dir, {});
    expect(reset).toMatchObject({ hosts: [], movedTo: null });
    expect(reset.revision).toBeGreaterThan(before.revision);
    const again = await resetTrust(dir, {});
    expect(again.revision).toBeGreaterThan(reset.revision);
    expect((await documentOf((await openDevice(dir, {})).trust)).revision).toBe(again.revision);
  });

  it('trusts nobody afterwards, even if the list was in order', async () => {
    await createIdentity(dir, {}, { friendlyName: 'server', hosts: ['api.example.com'] });
    const peer = await createIdentity(join(root, 'peer'), {}, { friendlyName: 'peer' });
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => addDevice(list, { ...peer, role: 'controller', hosts: [] }, 0));
    expect(await resetTrust(dir, {})).toMatchObject({ hosts: [] });
    expect(await documentOf(trust)).toMatchObject({ devices: [], hosts: [] });
  });

  it('keeps a list with pages with --keep, and removes its earlier pages later', async () => {
    await createIdentity(dir, {}, { friendlyName: 'server' });
    const { trust } = await openDevice(dir, {});
    const ids = Array.from({ length: 600 }, randomId);
    await withDevices(trust, ids);
    const before = (await trust.readHead()).pages.map(({ content }) => content);
    const kept = await resetTrust(dir, {}, { keep: true });
    const pages = kept.pages.map(({ content }) => content);
    const { devices } = await documentOf(trust);
    expect(devices.map(({ deviceId }) => deviceId).sort()).toEqual([...ids].sort());
    const droppedBy = (head: ListHead) => head.dropped.map(([hash]) => hash).sort();
    expect(droppedBy(kept)).toEqual(before.filter((hash) => !pages.includes(hash)).sort());

    const emptied = await resetTrust(dir, {});
    expect(emptied.pages).toEqual([{ prefix: '', content: [] }]);
    expect(droppedBy(emptied)).toEqual([...new Set([...before, ...pages])].sort());
  });

  it('keeps identity and key', async () => {
    const { deviceId } = await createIdentity(dir, {}, { friendlyName: 'server' });
    const line = toTrustLine((await openDevice(dir, {})).identity);
    await resetTrust(dir, {});
    const { identity } = await openDevice(dir, {});
    expect(identity.deviceId).toBe(deviceId);
    expect(toTrustLine(identity)).toBe(line);
  });
});
