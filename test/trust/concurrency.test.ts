import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, openDevice, setHosts } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Script, toScript } from '../support/child';
import { documentOf } from '../support/list-document';

let root: string;
let writer: Script;
let initialiser: Script;
beforeAll(async () => {
  writer = await toScript('test/trust/processes/writer.ts');
  initialiser = await toScript('test/trust/processes/init.ts');
});
afterAll(() => {
  writer.remove();
  initialiser.remove();
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

describe('several processes on one folder', () => {
  it('keep every one of 10 × 10 changes', async () => {
    const dir = join(root, 'home');
    await createIdentity(dir, {}, { friendlyName: 'shared' });
    const writers = Array.from({ length: 10 }, (_, index) => writer.start([dir, `writer-${index}`, '10']));
    for (const each of writers) expect(await each.ended, each.stderr()).toEqual({ code: 0, signal: null });

    const { devices, revision } = await documentOf((await openDevice(dir, {})).trust);
    const expected = writers.flatMap((_, index) =>
      Array.from({ length: 10 }, (_, number) => `writer-${index}-${number}`),
    );
    expect(devices.map(({ friendlyName }) => friendlyName).sort()).toEqual(expected.sort());
    expect(revision).toBe(101);
    expect((await readdir(dir)).sort()).toEqual([
      '.passphrase',
      'allow_list.json',
      'identity.json',
      'keys',
      'seen.json',
    ]);
  });

  it('keep every change of one process that makes many at once', async () => {
    const dir = join(root, 'home');
    await createIdentity(dir, {}, { friendlyName: 'shared' });
    const { trust } = await openDevice(dir, {});
    const names = Array.from({ length: 20 }, (_, number) => `host-${number}.example.com`);
    await Promise.all(
      names.map((name) => trust.update((list) => setHosts(list, [...list.head.hosts, name]))),
    );
    expect([...(await documentOf(trust)).hosts].sort()).toEqual([...names].sort());
  });

  it('make one identity: one process wins, all others hear identity_exists', async () => {
    const dir = join(root, 'home');
    const all = Array.from({ length: 6 }, (_, index) => initialiser.start([dir, `name-${index}`]));
    await Promise.all(all.map((each) => each.ended));
    const said = all.map((each) => each.lines.at(-1));
    const made = said.filter((line) => line?.startsWith('made '));
    expect(made).toHaveLength(1);
    expect(said.filter((line) => line === 'failed identity_exists')).toHaveLength(5);

    const { identity, trust } = await openDevice(dir, {});
    expect(made[0]).toBe(`made ${identity.deviceId}`);
    expect((await documentOf(trust)).list).toBe(identity.deviceId);
    expect(await readdir(join(dir, 'keys'))).toHaveLength(1);
  });
});
