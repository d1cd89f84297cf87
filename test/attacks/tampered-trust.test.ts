import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Amesh, createAmesh, type Refusal } from '@authmesh/sdk';
import {
  addDevice,
  createIdentity,
  type Device,
  openDevice,
  resetTrust,
  setHosts,
} from '@authmesh/sdk/admin';
import type { Signer } from '@authmesh/sdk/core';
import express from 'express';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { times } from '../support/full';
import { documentOf } from '../support/list-document';
import { type Listening, listen } from '../support/listen';
import { sealText, unsealed } from '../support/sealed-text';

const LIST = 'allow_list.json';
const KEYS = 'keys';

let root: string;
let dir: string;
let other: string;
let caller: Amesh;
let device: Device;
let good: Map<string, Buffer>;
let older: Buffer;
let refusals: Refusal[];
let warnings: string[];
let running: Amesh;
/** `/running` has one instance from the beginning to the end, `/fresh` a new one for each request. */
let server: Listening;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'target');
  other = join(root, 'other');
  const { deviceId, publicKey } = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
  await createIdentity(dir, {}, { friendlyName: 'target' });
  await createIdentity(other, {}, { friendlyName: 'other' });
  caller = createAmesh({ dir: join(root, 'caller'), env: {} });
  device = await openDevice(dir, {});
  const trusted = { deviceId, publicKey, friendlyName: 'caller', role: 'controller', hosts: [] } as const;
  older = await readFile(join(dir, LIST));
  await device.trust.update((list) => addDevice(list, trusted, 0));
  await (await openDevice(other, {})).trust.update((list) => addDevice(list, trusted, 0));
  good = new Map();
  for (const name of await files()) good.set(name, await readFile(join(dir, name)));
});
afterAll(() => rm(root, { recursive: true, maxRetries: 20 }));

beforeEach(async () => {
  refusals = [];
  warnings = [];
  vi.spyOn(console, 'warn').mockImplementation((line) => void warnings.push(String(line)));
  const toAmesh = () =>
    createAmesh({ dir, env: {}, onRefusal: (refusal) => void refusals.push(refusal as Refusal) });
  running = toAmesh();
  const app = express();
  app.get('/running', running.verify(), (_, response) => void response.send('passed'));
  app.get(
    '/fresh',
    (request, response, next) => toAmesh().verify()(request, response, next),
    (_, response) => void response.send('passed'),
  );
  server = await listen(app);
});
afterEach(async () => {
  await restore();
  await server.close();
  vi.restoreAllMocks();
});

/** Those of the folder and of its keys; not by a walk, which fails where a server writes down whom it has seen. */
async function files(): Promise<string[]> {
  const entries = [dir, join(dir, KEYS)].map((folder) => readdir(folder, { withFileTypes: true }));
  return (await Promise.all(entries))
    .flat()
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1));
}

/** Puts every file back as it was, and takes away what was not there. */
async function restore(): Promise<void> {
  for (const name of await files()) if (!good.has(name)) await rm(join(dir, name), { force: true });
  for (const [name, bytes] of good) {
    await rm(join(dir, name), { force: true });
    await writeFile(join(dir, name), bytes);
  }
}

async function call(path: string): Promise<{ status: number; body: string }> {
  const response = await caller.fetch(`${server.origin}${path}`);
  return { status: response.status, body: await response.text() };
}

const REFUSED = { status: 500, body: '{"error":"allow_list_integrity_failure"}' };
const PASSED = { status: 200, body: 'passed' };

const put = (bytes: Uint8Array | string) => writeFile(join(dir, LIST), bytes);
const text = () => (good.get(LIST) as Buffer).toString();

interface Head {
  readonly revision: number;
  readonly updatedAt: number;
  readonly owner: string;
}

/** Another list with a right seal of the right owner, as a newer or older amesh on this machine may have made it. */
async function putSealed(change: (head: Head) => object, signer: Signer = device.signer): Promise<void> {
  const { seal: _, ...head } = JSON.parse(text());
  await put(await sealText(JSON.stringify(change(head)).slice(0, -1), signer));
}

/** The next list, rightly sealed, and then written down in another way. */
async function putNewer(rewrite: (text: string) => string): Promise<void> {
  await putSealed((head) => ({ ...head, revision: head.revision + 1 }));
  await put(rewrite(await readFile(join(dir, LIST), 'utf8')));
}

const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

function withHighS(list: string): string {
  return list.replace(/"seal":"([^"]*)"/, (_, seal: string) => {
    const signature = Buffer.from(seal, 'base64url');
    const s = N - BigInt(`0x${signature.toString('hex', 32)}`);
    signature.write(s.toString(16).padStart(64, '0'), 32, 'hex');
    return `"seal":"${signature.toString('base64url')}"`;
  });
}

const ATTACKS: Readonly<Record<string, () => Promise<unknown>>> = {
  'an empty list': () => put(''),
  'a list cut in half': () => put(text().slice(0, text().length / 2)),
  'a list without its last newline': () => put(text().trimEnd()),
  'a list with a byte after it': () => put(`${text()} `),
  'a list with CRLF': () => put(text().replace('\n', '\r\n')),
  'a list with a BOM': () => put(`\uFEFF${text()}`),
  'a list with a key twice': () => put(text().replace('{', '{"hosts":["evil.example.com"],')),
  'a list with a key twice, the second time as it was': () =>
    put(text().replace('"hosts":[]', '"hosts":[],"hosts":[]')),
  'a list with spaces': () => put(text().replaceAll(',', ', ')),
  'a list on several lines': () => put(`${JSON.stringify(JSON.parse(text()), null, 2)}\n`),
  'a list with its keys in another order': () =>
    put(`${JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(text())).reverse()))}\n`),
  'a list with an escaped letter': () => put(text().replace('"caller"', '"\\u0063aller"')),
  'a list with half a surrogate pair': () => put(text().replace('"caller"', '"\\ud800"')),
  'a list with a number that is too large': () => put(text().replace('"revision":2', '"revision":1e999')),
  'a list nested too deeply': () => put(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}\n`),
  'a list that is not an object': () => put('[]\n'),
  'a list that is null': () => put('null\n'),
  'a list without its seal': () => put(`${unsealed(text())}}\n`),
  'a list with its seal at another place': () => put(text().replace(/^\{(.*),("seal":"[^"]*")\}/, '{$2,$1}')),
  'a list whose seal has a high s, which anybody can make of a low one': () => put(withHighS(text())),
  'a list with another role': () => put(text().replace('controller', 'target')),
  // Newer than any that was seen, so that nothing but the seal tells.
  'a newer list with the seal of the one before': () => put(text().replace('"revision":2', '"revision":3')),
  'a newer list in the name of its owner, sealed by another device': async () => {
    const { signer } = await openDevice(other, {});
    await putSealed((head) => ({ ...head, revision: head.revision + 1 }), signer);
  },
  'a newer list with a right seal and spaces': () => putNewer((list) => list.replaceAll(',', ', ')),
  'a newer list with a right seal and a key twice': () =>
    putNewer((list) => list.replace('{', '{"hosts":["evil.example.com"],')),
  'a newer list with a right seal and something after it': () => putNewer((list) => `${list}\n`),
  'an older copy put back': () => put(older),
  'the list of another device': () => copyFile(join(other, LIST), join(dir, LIST)),
  'a list that names an owner other than the one that sealed it': async () => {
    const { signer } = await openDevice(other, {});
    const owner = Buffer.from(signer.publicKey).toString('base64url');
    await putSealed((head) => ({ ...head, owner, revision: 9 }));
  },
  'another list of the same owner': () =>
    putSealed((head) => ({ ...head, list: 'am_AAAAAAAAAAAAAAAA', revision: 9 })),
  'another list of the same revision': () =>
    putSealed((head) => ({ ...head, updatedAt: head.updatedAt + 1 })),
  'a version that is not known': () => putSealed((head) => ({ ...head, version: 3, revision: 9 })),
  'a member that is not known': () => putSealed((head) => ({ ...head, leases: [], revision: 9 })),
  'an invalid token': () => putSealed((head) => ({ ...head, tokens: ['x'], revision: 9 })),
  'a revision that jumps too far ahead': () =>
    putSealed((head) => ({ ...head, revision: head.revision + 2 ** 20 + 1 })),
  'pages that leave a gap': () => putSealed((head) => ({ ...head, revision: 9, pages: [['0', []]] })),
  'a deleted list': () => rm(join(dir, LIST)),
  'the identity.json of another device': () =>
    copyFile(join(other, 'identity.json'), join(dir, 'identity.json')),
  'the identity.json and key file of another device': async () => {
    await copyFile(join(other, 'identity.json'), join(dir, 'identity.json'));
    const [key = ''] = await readdir(join(other, 'keys'));
    await copyFile(join(other, 'keys', key), join(dir, 'keys', key));
  },
  'the identity.json, key file and passphrase of another device': async () => {
    await ATTACKS['the identity.json and key file of another device']?.();
    await rm(join(dir, '.passphrase'));
    await copyFile(join(other, '.passphrase'), join(dir, '.passphrase'));
  },
  'an identity.json with the id of another device': async () => {
    const { deviceId } = JSON.parse(await readFile(join(other, 'identity.json'), 'utf8'));
    const own = (good.get('identity.json') as Buffer).toString();
    await writeFile(join(dir, 'identity.json'), own.replace(/am_[\w-]{16}/, deviceId));
  },
  'a seen.json that is not JSON': () => writeFile(join(dir, 'seen.json'), 'what was seen'),
  'a seen.json of another form': () => writeFile(join(dir, 'seen.json'), '{"am_x":{"revision":"2"}}'),
  'a seen.json that is empty': () => writeFile(join(dir, 'seen.json'), ''),
};

describe.each(Object.entries(ATTACKS))('%s', (_, attack) => {
  it('stops a server that starts afterwards, until the good file is restored', async () => {
    expect(await call('/fresh')).toEqual(PASSED);
    await attack();
    expect(await call('/fresh')).toEqual(REFUSED);
    await expect(createAmesh({ dir, env: {} }).fetch(server.origin)).rejects.toMatchObject({
      name: 'AllowListIntegrityError',
      code: 'allow_list_integrity_failure',
    });
    await restore();
    expect(await call('/fresh')).toEqual(PASSED);
  });

  it('stops a server that is running, until the good file is restored', async () => {
    expect(await call('/running')).toEqual(PASSED);
    await attack();
    await sleep(300); // more than the time between two looks at the files
    expect(await call('/running')).toEqual(REFUSED);
    expect(await call('/running')).toEqual(REFUSED);
    await expect(running.fetch(server.origin)).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
    await restore();
    await sleep(300);
    expect(await call('/running')).toEqual(PASSED);
  });

  it('is named in the log, with the fix', async () => {
    await attack();
    await call('/fresh');
    expect(refusals).toHaveLength(1);
    expect(refusals[0]).toMatchObject({ status: 500, code: 'allow_list_integrity_failure' });
    expect(refusals[0]?.fix).toMatch(
      /^(?:Restore the right allow_list\.json.*: amesh trust reset|(?:Restore the newer one|Restore the other one|Restore it from a backup).*: amesh trust reset --keep|If the list is in a store.* restore it.*: amesh trust reset|Restore the right identity\.json\. (?:If you replaced it.*: amesh trust reset|If there is no backup, create a new identity, and pair again: amesh init --name NAME --force)|If it was moved to another owner, set AMESH_OWNER_KEY .*: amesh trust reset|If this instance was off while the list was reset, .* restore the right list\.|Use the version of amesh that wrote it, or a newer one\.)$/,
    );
    // A server of the test before may still tell how many more it has refused.
    const own = warnings.filter((line) => line.includes(new URL(server.origin).host));
    expect(own).toEqual([
      expect.stringMatching(
        /^amesh: refused 500 allow_list_integrity_failure: .*(?: amesh trust reset(?: --keep)?|--name NAME --force|a newer one\.|restore the right list\.) \(folder [^)]+\) \[GET /,
      ),
    ]);
  });
});

describe('a device that a newer amesh may have restricted', () => {
  it.each([
    ['an unknown member', { until: 'noon' }],
    ['an unknown role', { roles: ['admin'] }],
    ['an invalid key', { key: 'A'.repeat(44) }],
  ])('is refused, and no other device: %s', async (_, more) => {
    await putSealed((head) => {
      const [[prefix, [entry]]] = (head as Head & { pages: [[string, [object]]] }).pages;
      return { ...head, revision: 9, pages: [[prefix, [{ ...entry, ...more }]]] };
    });
    expect(await call('/fresh')).toEqual(REFUSED);
    const stranger = createAmesh({ dir: other, env: {} });
    expect((await stranger.fetch(`${server.origin}/fresh`)).status).toBe(401);
    await restore();
    expect(await call('/fresh')).toEqual(PASSED);
  });
});

describe('any changed byte of the list', () => {
  it('stops a server, at each of its positions', async () => {
    const bytes = good.get(LIST) as Buffer;
    for (let position = 0; position < bytes.length; position += times(19, 1)) {
      const changed = Buffer.from(bytes);
      changed[position] = (changed[position] as number) ^ (1 << (position % 8));
      await put(changed);
      expect(await call('/fresh'), `byte ${position}`).toEqual(REFUSED);
    }
    await restore();
    expect(await call('/fresh')).toEqual(PASSED);
  });

  it('stops a server, wherever the list is cut off', async () => {
    const bytes = good.get(LIST) as Buffer;
    for (let length = 0; length < bytes.length; length += times(61, 7)) {
      await put(bytes.subarray(0, length));
      expect(await call('/fresh'), `${length} bytes`).toEqual(REFUSED);
    }
  });
});

describe('amesh trust reset', () => {
  it('repairs a server that is running, moves the old list aside, and trusts nobody', async () => {
    expect(await call('/running')).toEqual(PASSED);
    await put('broken');
    const { movedTo } = await resetTrust(dir, {});
    expect((await documentOf((await openDevice(dir, {})).trust)).devices).toEqual([]);
    expect(await readFile(join(movedTo as string, LIST), 'utf8')).toBe('broken');
    await sleep(300);
    expect(await call('/running')).toEqual({ status: 401, body: '{"error":"unauthorized"}' });
    expect(refusals.at(-1)?.code).toBe('unknown_device');
  });

  it('repairs a server that has seen a newer list than the folder shows', async () => {
    expect(await call('/running')).toEqual(PASSED);
    await put(older);
    await rm(join(dir, 'seen.json'));
    await sleep(300);
    expect(await call('/running')).toEqual(REFUSED);
    await resetTrust(dir, {});
    await sleep(300);
    expect(await call('/running')).toEqual({ status: 401, body: '{"error":"unauthorized"}' });
  });

  it('moves a damaged seen.json out of the way', async () => {
    await writeFile(join(dir, 'seen.json'), 'damaged');
    const { movedTo } = await resetTrust(dir, {});
    expect((await readdir(movedTo as string)).sort()).toEqual([LIST, 'seen.json']);
    await documentOf((await openDevice(dir, {})).trust);
  });

  it('with keep continues from the older list, even in a server that has seen the newer one', async () => {
    const { trust } = await openDevice(dir, {});
    await trust.update((list) => setHosts(list, ['api.example.com']));
    expect((await call('/running')).status).toBe(421);
    await put(good.get(LIST) as Buffer);
    await sleep(300);
    expect(await call('/running')).toEqual(REFUSED);
    await resetTrust(dir, {}, { keep: true });
    await sleep(300);
    expect(await call('/running')).toEqual(PASSED);
    expect(await call('/fresh')).toEqual(PASSED);
  });

  it.each([
    ['is broken', 'broken'],
    ['is gone', null],
  ])('with keep moves nothing if the list %s', async (_, text) => {
    if (text === null) await rm(join(dir, LIST));
    else await put(text);
    const moved = () => readdir(join(dir, 'replaced')).catch(() => []);
    const before = await moved();
    await expect(resetTrust(dir, {}, { keep: true })).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
    expect(await moved()).toEqual(before);
  });

  it('cannot be undone by restoring the old list', async () => {
    await resetTrust(dir, {});
    await put(good.get(LIST) as Buffer);
    expect(await call('/fresh')).toEqual(REFUSED);
  });
});
