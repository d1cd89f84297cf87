import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { type AmeshOptions, createAmesh, provenBy, type VerifyOptions } from '@authmesh/sdk';
import {
  addDevice,
  allowScopes,
  createIdentity,
  cutKeys,
  type Device,
  endDelegation,
  type IssueDelegationOptions,
  issueDelegation,
  openDevice,
  revokeDevice,
} from '@authmesh/sdk/admin';
import type { ClientRefusal, Refusal } from '@authmesh/sdk/core';
import { createStorage } from 'unstorage';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Script, toScript } from '../support/child';
import { type Listening, listen } from '../support/listen';

let root: string;
let caller: Device;
let target: Device;
const servers: Listening[] = [];
let warned: ReturnType<typeof vi.spyOn>;

beforeEach(async () => {
  warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  for (const name of ['caller', 'target']) await createIdentity(join(root, name), {}, { friendlyName: name });
  [caller, target] = [await openDevice(join(root, 'caller'), {}), await openDevice(join(root, 'target'), {})];
  const scopes = ['orders:*', 'reports:read'];
  await target.trust.update((list) =>
    addDevice(list, { ...caller.identity, role: 'controller', hosts: [], scopes }, 0),
  );
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  warned.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const now = () => Math.floor(Date.now() / 1000);

function lend(change: Partial<IssueDelegationOptions> = {}) {
  return issueDelegation(caller.signer, {
    name: 'report-agent',
    scopes: ['orders:read', 'invoices:read'],
    targets: [target.identity.deviceId],
    lifetimeSeconds: 600,
    ...change,
  });
}

/** A server of the target, which answers with whom it has let in. */
async function serve(options: VerifyOptions) {
  const refusals: Refusal[] = [];
  const seen: (string | undefined)[] = [];
  const amesh = createAmesh({
    dir: join(root, 'target'),
    env: {},
    onRefusal: (refusal) => void refusals.push(refusal as Refusal),
  });
  const verify = amesh.verify(options);
  const server = await listen((req, res) => {
    seen.push(req.headers['authmesh-target'] as string | undefined);
    verify(req, res, () => void res.end(JSON.stringify((req as never as { authMesh: object }).authMesh)));
  });
  servers.push(server);
  return { ...server, refusals, seen };
}

/** A program with nothing but a delegation, and what it was told of refusals. */
function jobWith(text: string, options: AmeshOptions = {}) {
  const told: ClientRefusal[] = [];
  const onRefusal = (refusal: unknown) => void told.push(refusal as ClientRefusal);
  return { ...createAmesh({ env: { AMESH_DELEGATION: text }, onRefusal, ...options }), told };
}

describe('A program with AMESH_DELEGATION', () => {
  it('calls as the delegate of its device, and names its only target', async () => {
    const { text, facts } = await lend();
    const server = await serve({ require: 'orders:read' });
    for (const format of ['authmesh', 'rfc9421'] as const) {
      const response = await jobWith(text, { format }).fetch(server.origin, { method: 'POST', body: 'x' });
      expect(await response.json()).toMatchObject({
        deviceId: caller.identity.deviceId,
        delegate: { name: 'report-agent', expiresAt: facts.expiresAt, id: facts.id },
      });
    }
    expect(server.seen).toEqual([target.identity.deviceId, target.identity.deviceId]);
  });

  it('with two targets names neither, and is accepted by each', async () => {
    const { text } = await lend({ targets: [target.identity.deviceId, caller.identity.deviceId] });
    const server = await serve({ require: 'orders:read' });
    expect((await jobWith(text).fetch(server.origin)).status).toBe(200);
    expect(server.seen).toEqual([undefined]);
  });

  it('has only what both its delegation and its device have, and learns what is missing', async () => {
    const job = jobWith((await lend()).text);
    for (const [scope, status] of [
      ['orders:read', 200],
      ['orders:write', 403], // the device has it
      ['invoices:read', 403], // the delegation has it
    ] as const) {
      const server = await serve({ require: scope });
      expect((await job.fetch(server.origin)).status).toBe(status);
    }
    expect(job.told.map(({ code, scope }) => [code, scope])).toEqual([
      ['scope_missing', 'orders:write'],
      ['scope_missing', 'invoices:read'],
    ]);
    expect(job.told[0]?.detail).toBe(
      'This delegate, or its device, does not have the scope orders:write at the server.',
    );
    expect(job.told[0]?.fix).toMatch(
      new RegExp(
        `^The delegation needs it: amesh delegate --scope orders:write\\. So does its device\\. .* amesh allow ${caller.identity.deviceId} orders:write$`,
      ),
    );
    await target.trust.update((list) => allowScopes(list, caller.identity.deviceId, ['invoices:read']));
    const server = await serve({ require: 'invoices:read' });
    expect((await job.fetch(server.origin)).status).toBe(200);
  });

  it('is refused by a route that does not allow delegates, and learns why', async () => {
    const job = jobWith((await lend()).text);
    const server = await serve({});
    expect((await job.fetch(server.origin)).status).toBe(403);
    expect(job.told).toMatchObject([
      { code: 'delegate_not_allowed', detail: 'The server accepts no delegates at this path.' },
    ]);
    expect((await job.fetch((await serve({ delegates: true })).origin)).status).toBe(200);
  });

  it('is refused by another target', async () => {
    const { text } = await lend({ targets: [caller.identity.deviceId] });
    const server = await serve({ require: 'orders:read' });
    const job = jobWith(text);
    expect((await job.fetch(server.origin)).status).toBe(401);
    expect(job.told).toMatchObject([
      { code: 'unauthorized', detail: expect.stringMatching(/^The server did not accept this delegate\./) },
    ]);
  });

  it.each<[string, (list: Parameters<Parameters<Device['trust']['update']>[0]>[0], id: string) => unknown]>([
    ['its ID is revoked', (list, id) => endDelegation(list, id, now())],
    ['the keys of its device are cut', (list) => cutKeys(list, caller.identity.deviceId, now())],
    ['its device is revoked', (list) => revokeDevice(list, caller.identity.deviceId, now())],
  ])('is refused once %s', async (_what, change) => {
    const { text, facts } = await lend();
    const server = await serve({ require: 'orders:read' });
    const job = jobWith(text);
    expect((await job.fetch(server.origin)).status).toBe(200);
    await target.trust.update(async (list) => void (await change(list, facts.id)));
    await vi.waitFor(async () => expect((await job.fetch(server.origin)).status).toBe(401), 10_000);
  });

  it('continues if another delegation is revoked', async () => {
    const [mine, other] = [await lend(), await lend()];
    const server = await serve({ require: 'orders:read' });
    await target.trust.update(async (list) => void endDelegation(list, other.facts.id, now()));
    expect((await jobWith(mine.text).fetch(server.origin)).status).toBe(200);
  });

  it('fails once it has ended, before anything is sent', async () => {
    const server = await serve({ require: 'orders:read' });
    const { text } = await lend({ now: () => Date.now() - 601_000 });
    await expect(jobWith(text).fetch(server.origin)).rejects.toMatchObject({ code: 'delegation_ended' });
    expect(server.seen).toEqual([]);
  });

  it('can do nothing but call', async () => {
    const job = jobWith((await lend()).text);
    const message = /^With AMESH_DELEGATION, this instance is a delegate: it can send requests/;
    expect(() => job.verify()).toThrow(message);
    expect(() => job.verifier()).toThrow(message);
    await expect(job.identity()).rejects.toThrow(message);
    expect(await job.bootstrapIfNeeded()).toBe(false);
  });

  it.each<[string, AmeshOptions]>([
    ['dir', { dir: '/tmp/amesh-anywhere' }],
    ['storage', { storage: createStorage() }],
    ['signer', { signer: { publicKey: new Uint8Array(33).fill(2), sign: async () => new Uint8Array(64) } }],
    ['AUTH_MESH_DIR', { env: { AUTH_MESH_DIR: '/tmp/amesh-anywhere' } }],
    ['AMESH_OWNER_KEY', { env: { AMESH_OWNER_KEY: 'A' } }],
    ['AMESH_STORE_URL', { env: { AMESH_STORE_URL: 'redis://127.0.0.1' } }],
    ['AMESH_BOOTSTRAP_TOKEN', { env: { AMESH_BOOTSTRAP_TOKEN: 'eyJ' } }],
  ])('refuses %s', async (name, { env = {}, ...options }) => {
    const { text } = await lend();
    const amesh = createAmesh({ ...options, env: { ...env, AMESH_DELEGATION: text } });
    const error = await amesh.fetch('http://127.0.0.1:9').catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toBe(
      `AMESH_DELEGATION and ${name} are both given. A delegate has no folder, list or key of its own: remove one of the two.`,
    );
    expect(() => amesh.verify()).toThrow(error.message);
  });

  it.each([
    ['is empty', ''],
    ['has quotes', '"amesh_delegation_x"'],
    ['ends with a line', 'amesh_delegation_x\n'],
    ['is not a delegation', 'amesh_delegation_secret'],
    ['is not a delegation', 'eyJhbGciOiJFUzI1NiJ9.secret'],
  ])('says that the variable %s, without its value', async (_how, text) => {
    const error = await jobWith(text)
      .fetch('http://127.0.0.1:9')
      .catch((thrown) => thrown);
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^AMESH_DELEGATION /);
    expect(inspect(error)).not.toContain('secret');
  });

  it('does not change an environment that was given', async () => {
    const env = { AMESH_DELEGATION: (await lend()).text };
    const server = await serve({ require: 'orders:read' });
    expect((await createAmesh({ env }).fetch(server.origin)).status).toBe(200);
    expect(env.AMESH_DELEGATION).toMatch(/^amesh_delegation_/);
  });
});

describe('A process with AMESH_DELEGATION', () => {
  let script: Script;
  beforeAll(async () => {
    script = await toScript('test/delegates/processes/job.ts');
  });
  afterAll(() => script?.remove());

  it('needs no folder, hides the secret from its children and its arguments, and has it in its threads', async () => {
    const { text } = await lend();
    const server = await serve({ require: 'orders:read' });
    const home = await mkdtemp(join(root, 'home-'));
    const { PATH = '' } = process.env;
    const child = script.start([server.origin], {
      env: { PATH, HOME: home, AMESH_DELEGATION: text, DEBUG: 'amesh' },
    });
    const facts = JSON.parse(await child.line('job '));
    expect(facts).toMatchObject({
      statuses: [200, 200, 200],
      variable: null,
      isInherited: false,
      isArgument: false,
    });
    expect(JSON.parse(facts.body).delegate.name).toBe('report-agent');
    await child.ended;
    expect(`${child.lines.join()}${child.stderr()}`).not.toContain(text.slice(17, 60));
    expect(await readdir(home)).toEqual([]);
  });
});

describe('a delegate with the key of its target', () => {
  it('accepts only proven answers, and a delegate without the key accepts none', async () => {
    const { origin } = await serve({ delegates: true });
    const key = { targetKeys: [target.identity] };
    const call = async (change: Partial<IssueDelegationOptions>) => {
      const env = { AMESH_DELEGATION: (await lend(change)).text };
      return createAmesh({ env, answers: 'required' }).fetch(origin);
    };
    expect(provenBy(await call(key))?.target).toBe(target.identity.deviceId);
    await expect(call({})).rejects.toMatchObject({ code: 'answer_unproven' });
  });

  it('of several targets is known by its authority, and named and proven there', async () => {
    const server = await serve({ require: 'orders:read' });
    const { host } = new URL(server.origin);
    const lent = (hosts: string[]) =>
      lend({
        targets: [target.identity.deviceId, caller.identity.deviceId],
        targetKeys: [{ ...target.identity, hosts }, caller.identity],
      });
    const callAs = async (hosts: string[]) => {
      const env = { AMESH_DELEGATION: (await lent(hosts)).text };
      return createAmesh({ env }).fetch(server.origin);
    };
    expect(provenBy(await callAs([host]))?.target).toBe(target.identity.deviceId);
    expect(provenBy(await callAs(['other.example']))).toBeUndefined();
    expect(server.seen).toEqual([target.identity.deviceId, undefined]);
  });
});
