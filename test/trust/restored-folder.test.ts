import { cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice, setHosts } from '@authmesh/sdk/admin';
import type { Refusal } from '@authmesh/sdk/core';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FileStore } from '../../src/storage/files/file-store';
import { ListStore } from '../../src/trust/list/list-store';
import { NOWHERE } from '../../src/trust/list/seen';
import { type Listening, listen } from '../support/listen';
import { SOON } from '../support/waiting';

let root: string;
let dir: string;
let backup: string;
let caller: Amesh;
let server: Listening;
const told: Refusal[] = [];

async function serve(): Promise<void> {
  const amesh = createAmesh({
    dir,
    env: {},
    onRefusal: (refusal) => void told.push(refusal as Refusal),
  });
  const verify = amesh.verify();
  server = await listen((request, response) => verify(request, response, () => response.end('in')));
}

const change = async (host: string) => {
  const { trust } = await openDevice(dir, {});
  await trust.update((list) => setHosts(list, [host, server.authority]));
};

const untilAnswer = (status: number) =>
  vi.waitFor(async () => expect((await caller.fetch(server.origin)).status).toBe(status), SOON);

beforeEach(async () => {
  told.length = 0;
  root = await mkdtemp(join(tmpdir(), 'amesh-restored-'));
  [dir, backup] = [join(root, 'target'), join(root, 'backup')];
  const { deviceId, publicKey, friendlyName } = await createIdentity(
    join(root, 'caller'),
    {},
    { friendlyName: 'c' },
  );
  await createIdentity(dir, {}, { friendlyName: 'target' });
  const { trust } = await openDevice(dir, {});
  await trust.update((list) =>
    addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 0),
  );
  caller = createAmesh({ dir: join(root, 'caller'), env: {} });
  await serve();
  await cp(dir, backup, { recursive: true });
  await change('newer.example');
  await untilAnswer(200);
});
afterEach(async () => {
  await server.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const restore = async () => {
  await rename(dir, join(root, 'lost'));
  await cp(backup, dir, { recursive: true });
};

it('restored as a whole under a running server: it says that a restart helps, and it does', async () => {
  await restore();
  await untilAnswer(500);
  expect(told.at(-1)).toMatchObject({
    code: 'allow_list_integrity_failure',
    detail:
      'The folder was restored to an older state while this process ran: its list has revision 2, but this process has seen 3.',
    fix: expect.stringMatching(/^Restore the newer folder\. If it is lost, restart this process: /),
  });
  await server.close();
  await serve();
  await change('again.example');
  await untilAnswer(200);
});

it('restored, and changed since then: two lists of one revision are no reason to reset either', async () => {
  await restore();
  await change('other.example');
  await untilAnswer(500);
  expect(told.at(-1)?.fix).toContain('restart this process');
});

it('with only the list restored: it still says how to continue from there', async () => {
  await cp(join(backup, 'allow_list.json'), join(dir, 'allow_list.json'));
  await untilAnswer(500);
  expect(told.at(-1)).toMatchObject({
    detail: 'The allow list is an older copy: revision 2, but this machine has seen 3.',
    fix: expect.stringContaining('amesh trust reset --keep'),
  });
});

it('gone from a running server: nobody is told to make another identity', async () => {
  await rename(dir, join(root, 'unmounted'));
  await untilAnswer(503);
  expect(told.at(-1)).toMatchObject({
    code: 'no_identity',
    detail: `The identity that this process used is gone from ${dir}.`,
    fix: expect.stringMatching(/^Restore the folder, or mount it again\. Do not run amesh init/),
  });
  await rename(join(root, 'unmounted'), dir);
  await untilAnswer(200);
});

it('a store that was set back, with no record in the folder: nobody is told that a restart accepts it', async () => {
  const { signer, identity } = await openDevice(dir, {});
  const store = new FileStore(dir); // another place than that of the record
  const reader = new ListStore(store, { owners: [signer.publicKey] }, identity.deviceId, { seen: NOWHERE });
  await reader.read();
  await cp(join(backup, 'allow_list.json'), join(dir, 'allow_list.json'));
  await expect(reader.read()).rejects.toMatchObject({
    code: 'allow_list_integrity_failure',
    detail: expect.stringContaining(
      'The allow list is an older copy: revision 2, but this machine has seen 3.',
    ),
    fix: expect.not.stringContaining('restart'),
  });
});
