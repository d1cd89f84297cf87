import { copyFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, issueProvision, openDevice } from '@authmesh/sdk/admin';
import { verify as honoVerify } from '@authmesh/sdk/hono';
import { createServerVerifier, withAmesh } from '@authmesh/sdk/workers';
import { expect, it, vi } from 'vitest';
import { withAmesh as withAmeshOnWorkers } from '../../src/entries/workers.web';
import { callsOf } from '../support/calls-of';
import { changeDevices } from '../support/list-document';
import { listen } from '../support/listen';
import { useEnrolling } from '../support/use-enrolling';
import { SOON } from '../support/waiting';

// Instances that have the public key of a list's owner, and nothing else.

const CANNOT = 'enroll needs the private key that seals the allow list';

const enrolling = useEnrolling();

const said = () =>
  callsOf(enrolling.logged)
    .map(([line]: unknown[]) => String(line))
    .join('\n');
const now = () => Math.floor(Date.now() / 1000);

it('cannot enrol callers, and say so if that is asked for', async () => {
  const { device, dir } = await enrolling.target();
  const ownerKey = device.identity.publicKey;
  const reader = createAmesh({ dir, env: { AMESH_OWNER_KEY: ownerKey } });
  expect(() => reader.verify({ enroll: true })).toThrow(TypeError);
  expect(() => reader.verify({ enroll: true })).toThrow(
    `${CANNOT}. An instance with AMESH_OWNER_KEY can only read the list`,
  );
  const options = { allowList: '{}', ownerKey, enroll: true };
  const handler = () => new Response();
  for (const join of [
    () => withAmesh(handler, options),
    () => withAmeshOnWorkers(handler, options),
    () => withAmeshOnWorkers(handler, { enroll: true }),
    () => createServerVerifier(options),
    () => honoVerify(options),
  ])
    expect(join).toThrow(`${CANNOT}: enrol at a server that has it`);
});

it('do not renew leases, and log so when one ends soon', async () => {
  const target = await enrolling.target();
  const { token, id } = await target.grant({ leaseSeconds: 3600, maxLeaseSeconds: 36_000 });
  const caller = enrolling.caller(token);
  expect((await caller.fetch(target.origin)).status).toBe(200);
  const { dir, device } = target;
  const reader = createAmesh({ dir, env: { AMESH_OWNER_KEY: device.identity.publicKey } });
  const verify = reader.verify();
  const server = await listen((request, response) => verify(request, response, () => response.end('passed')));
  expect((await caller.fetch(server.origin)).status).toBe(200);
  expect(said()).not.toContain('lease');

  const lease = { grant: id, expiresAt: now() + 600, endsAt: now() + 36_000 };
  await changeDevices(device.trust, (entry) => ({ ...entry, lease }));
  await vi.waitUntil(async () => {
    expect((await caller.fetch(server.origin)).status).toBe(200);
    return said().includes('lease');
  }, SOON);
  expect(said()).toContain('this instance cannot renew it: it has only AMESH_OWNER_KEY');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect((await target.list()).devices).toMatchObject([{ lease }]);
  await server.close();
});

it('create no identity in the folder of the list that they read, which would replace that list', async () => {
  const [target, other] = [await enrolling.target(), await enrolling.target()];
  const { token } = await other.grant();
  const dir = join(enrolling.root, 'reader');
  await mkdir(dir, { mode: 0o700 });
  await copyFile(join(target.dir, 'allow_list.json'), join(dir, 'allow_list.json'));
  const before = await readFile(join(dir, 'allow_list.json'));
  const env = { AMESH_OWNER_KEY: target.device.identity.publicKey, AMESH_BOOTSTRAP_TOKEN: token };
  const reader = createAmesh({ dir, env });
  await expect(reader.fetch(other.origin)).rejects.toMatchObject({
    code: 'no_identity',
    detail: expect.stringContaining('is for the allow list of another device'),
  });
  expect(await readFile(join(dir, 'allow_list.json'))).toEqual(before);
  expect(await readdir(dir)).not.toContain('identity.json');
});

it('take no provision token, say so, and continue', async () => {
  const target = await enrolling.target();
  const { token } = await target.grant();
  const caller = enrolling.caller(token);
  await caller.fetch(target.origin);
  const other = join(enrolling.root, 'issuer');
  await createIdentity(other, {}, { friendlyName: 'issuer' });
  const provision = await issueProvision(await openDevice(other, {}), { friendlyName: 'x' });

  const { dir, device } = target;
  const [list, files] = [await target.list(), await readdir(dir)];
  const env = { AMESH_OWNER_KEY: device.identity.publicKey, AMESH_BOOTSTRAP_TOKEN: provision.token };
  const reader = createAmesh({ dir, env });
  const verify = reader.verify();
  const server = await listen((request, response) => verify(request, response, () => response.end('passed')));
  expect((await caller.fetch(server.origin)).status).toBe(200);
  await expect
    .poll(said)
    .toContain('this instance uses the list of AMESH_OWNER_KEY. Remove one of the two variables.');
  expect([await target.list(), await readdir(dir)]).toEqual([list, files]);
  await expect(createAmesh({ dir, env }).bootstrapIfNeeded()).rejects.toMatchObject({
    code: 'token_wrong_type',
  });
  await server.close();
});
