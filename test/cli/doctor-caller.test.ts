import { cp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { openDevice } from '@authmesh/sdk/admin';
import { afterAll, describe, expect, it } from 'vitest';
import { changeDevices } from '../support/list-document';
import { listen } from '../support/listen';
import { type Machine, useMachines } from './amesh';
import { type Examined, examineWith, trust } from './examine';
import { fingerprintOf } from './fingerprint';

const createMachine = useMachines();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

const examine = (machine: Machine, url: string, env: Record<string, string> = {}): Promise<Examined> =>
  examineWith(machine, { AMESH_RELAY_URL: 'ws://127.0.0.1:1/ws', ...env }, url);

async function serve(handler: RequestListener) {
  const server = await listen(createServer(handler));
  endings.push(() => server.close());
  return server;
}

/** A server of a machine, which remembers the requests and the precise reasons of its refusals. */
async function serveAs(dir: string, env: Record<string, string> = {}) {
  const [reasons, requests]: [string[], IncomingMessage[]] = [[], []];
  const verify = createAmesh({ dir, env, onRefusal: ({ code }) => void reasons.push(code) }).verify({
    delegates: true,
  });
  const server = await serve((request, response) => {
    requests.push(request);
    verify(request, response, () => void response.end());
  });
  const refusedSigned = () => reasons.filter((reason) => reason !== 'missing_header');
  return { ...server, requests, refusedSigned };
}

async function meet() {
  const [prod, laptop] = [await createMachine(), await createMachine()];
  const [target, caller] = [await prod.init('prod-api'), await laptop.init('laptop')];
  await trust(prod, caller, 'controller');
  return { prod, laptop, target, caller };
}

/** The status that a program of this machine gets, or the code of its error. */
const statusOf = (machine: Machine, url: string, env: Record<string, string> = {}) =>
  createAmesh({ dir: machine.dir, env })
    .fetch(url)
    .then(
      ({ status }) => status,
      (error) => error.code,
    );

describe('during a rotation, amesh doctor', () => {
  it('signs with the key that the target knows, tells nobody the next one, and writes nothing', async () => {
    const { prod, laptop, target, caller } = await meet();
    const server = await serveAs(prod.dir);
    await trust(laptop, target, 'target', [server.authority]);
    expect((await laptop.amesh(['rotate', '--yes'])).code).toBe(0);
    const before = await fingerprintOf(laptop.dir);
    const { of } = await examine(laptop, `${server.origin}/api?a=1`);
    expect(of.target).toMatchObject({ state: 'ok', message: expect.stringContaining('"prod-api"') });
    expect(server.refusedSigned()).toEqual([]);
    const told = server.requests.filter(({ headers }) => headers['authmesh-rotation'] !== undefined);
    expect(told).toEqual([]);
    expect(await fingerprintOf(laptop.dir)).toBe(before);
    const { devices } = await prod.allowList();
    expect(devices).toMatchObject([{ deviceId: caller.deviceId }]);
    expect(devices).toHaveLength(1);
  });

  it('signs with the next key if the target only knows that one, and writes nothing', async () => {
    const { prod, laptop, target } = await meet();
    const server = await serveAs(prod.dir);
    await trust(laptop, target, 'target', [server.authority]);
    await laptop.amesh(['rotate', '--yes']);
    await prod.amesh(['revoke', 'laptop', '--yes']);
    await trust(prod, await createAmesh({ dir: laptop.dir, env: {} }).identity(), 'controller');
    const before = await fingerprintOf(laptop.dir);
    const { of } = await examine(laptop, `${server.origin}/api`);
    expect(of.target).toMatchObject({ state: 'ok' });
    expect(await fingerprintOf(laptop.dir)).toBe(before);
    expect(await statusOf(laptop, `${server.origin}/api`)).toBe(200);
  });

  it('finds a proxy that rewrites the URL', async () => {
    const { prod, laptop, target } = await meet();
    const verify = createAmesh({ dir: prod.dir, env: {}, onRefusal: () => {} }).verify();
    const server = await serve((request, response) => {
      request.url = (request.url ?? '').replace(/\?.*/, '');
      verify(request, response, () => void response.end());
    });
    await trust(laptop, target, 'target', [server.authority]);
    await laptop.amesh(['rotate', '--yes']);
    const { of } = await examine(laptop, `${server.origin}/api?a=1`);
    expect(of.target).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('Something in between rewrites the query.'),
    });
  });
});

describe('where answers have to be proven, amesh doctor', () => {
  /** A server with a copy of a list, and without the key that sealed it. */
  async function serveCopy(prod: Machine, publicKey: string) {
    const dir = join(prod.dir, '..', 'reader');
    await cp(prod.dir, dir, { recursive: true });
    await rm(join(dir, 'identity.json'));
    return serveAs(dir, { AMESH_OWNER_KEY: publicKey });
  }

  it('fails at a target without an answer key, as each request does', async () => {
    const { prod, laptop, target } = await meet();
    const server = await serveCopy(prod, target.publicKey);
    await trust(laptop, target, 'target', [server.authority]);
    expect(await statusOf(laptop, `${server.origin}/api`)).toBe('answer_unproven');
    const { of, code } = await examine(laptop, `${server.origin}/api`);
    expect(of.target).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(/^The answer of .*\/api \(200\) is not proven: /),
      fix: expect.stringContaining('amesh answer-key'),
    });
    expect(code).toBe(1);
  });

  it('accepts a target of which it knows that it cannot prove anything', async () => {
    const { prod, laptop, target } = await meet();
    const server = await serveCopy(prod, target.publicKey);
    await trust(laptop, target, 'target', [server.authority]);
    const { trust: list } = await openDevice(laptop.dir, {});
    await changeDevices(list, (device) => ({ ...device, proves: false }));
    const { of } = await examine(laptop, `${server.origin}/api`);
    expect([await statusOf(laptop, `${server.origin}/api`), of.target?.state]).toEqual([200, 'ok']);
  });

  it('still says why a target refuses this machine, which no target proves', async () => {
    const { prod, laptop, target } = await meet();
    await prod.amesh(['revoke', 'laptop', '--yes']);
    const server = await serveAs(prod.dir);
    await trust(laptop, target, 'target', [server.authority]);
    const { of } = await examine(laptop, `${server.origin}/api`);
    expect(of.target).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(/The server did not accept the signature of this device\..* for am_/),
      fix: expect.stringMatching(/^On the target: amesh list /),
    });
  });
});

describe('amesh doctor calls the target that a program calls', () => {
  it('as a delegate with several targets, the one with that host', async () => {
    const { prod, laptop, target } = await meet();
    const other = await createMachine();
    await trust(laptop, await other.init('billing'), 'target', ['billing:3000']);
    // It has no hosts, so it accepts only requests that name it.
    const server = await serveAs(prod.dir);
    await trust(laptop, target, 'target', [`0.0.0.0:${server.port}`]);
    const lend = ['delegate', '--name', 'job', '--scope', 'x', '--target', 'prod-api', '--target', 'billing'];
    const AMESH_DELEGATION = (await laptop.amesh(lend)).stdout.trim();
    const url = `http://0.0.0.0:${server.port}/`;
    const program = createAmesh({ env: { AMESH_DELEGATION } });
    expect((await program.fetch(url)).status).toBe(200);
    const { of } = await examine(laptop, url, { AUTH_MESH_DIR: '', AMESH_DELEGATION });
    expect(of.target).toMatchObject({
      state: 'ok',
      message: expect.stringContaining(`The request was signed for "${target.deviceId}".`),
    });
  });

  it('from the list of another device, if AMESH_OWNER_KEY names its key', async () => {
    const { prod, laptop, target } = await meet();
    const owner = await createMachine();
    const AMESH_OWNER_KEY = (await owner.init('owner')).publicKey;
    const server = await serveAs(prod.dir);
    const url = `http://0.0.0.0:${server.port}/`; // the server accepts that host only with its name
    await trust(owner, target, 'target', [`0.0.0.0:${server.port}`]);
    await cp(join(owner.dir, 'allow_list.json'), join(laptop.dir, 'allow_list.json'));
    expect(await statusOf(laptop, url, { AMESH_OWNER_KEY })).toBe(200);
    const { of } = await examine(laptop, url, { AMESH_OWNER_KEY });
    expect(of.target).toMatchObject({ state: 'ok', message: expect.stringContaining('"prod-api"') });
  });
});
