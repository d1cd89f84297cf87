import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, type Device, issueProvision, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { documentOf } from '../support/list-document';

let target: Script;
let cluster: Script;
beforeAll(async () => {
  target = await toScript('test/bootstrap/processes/target.ts');
  cluster = await toScript('test/bootstrap/processes/cluster.ts');
});
afterAll(() => {
  target.remove();
  cluster.remove();
});

let root: string;
let controllerDir: string;
let dir: string;
let controller: Device;
const running: Child[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  [controllerDir, dir] = [join(root, 'controller'), join(root, 'home')];
  await createIdentity(controllerDir, {}, { friendlyName: 'laptop' });
  controller = await openDevice(controllerDir, {});
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    child.kill('SIGKILL');
    await child.ended;
  }
  await rm(root, { recursive: true, maxRetries: 20 });
});

function start(script: Script, args: readonly string[], token: string): Child {
  const env = { AUTH_MESH_DIR: dir, AMESH_BOOTSTRAP_TOKEN: token, PATH: process.env.PATH ?? '' };
  const child = script.start(args, { env });
  running.push(child);
  return child;
}

async function stop(child: Child): Promise<void> {
  child.kill('SIGKILL');
  await child.ended;
}

const call = async (child: Child) => {
  const port = await child.line('port ');
  return createAmesh({ dir: controllerDir, env: {} }).fetch(`http://127.0.0.1:${port}/`);
};
const listOf = async (folder: string) => documentOf((await openDevice(folder, {})).trust);
const bytesOf = (folder: string) => readFile(join(folder, 'allow_list.json'), 'utf8');

describe('a target with a provision token and an empty folder', () => {
  it('takes nothing while a build only loads the server', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    const child = start(target, ['none'], token);
    expect(await child.line('token ')).toBe('left');
    expect(child.stderr()).toBe('');
    await expect(readdir(dir)).rejects.toThrow('ENOENT');
  });

  it('takes it when the server listens, before anybody calls', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    const child = start(target, [], token);
    await child.line('port ');
    await expect.poll(() => child.stderr()).toContain('AMESH_BOOTSTRAP_TOKEN was taken');
  });

  it('lets its issuer call at the first request, and logs the issuer once', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    const child = start(target, [], token);
    const response = await call(child);
    expect([response.status, await response.json()]).toEqual([
      200,
      {
        deviceId: controller.identity.deviceId,
        friendlyName: 'laptop',
        verifiedAt: expect.any(Number),
        scopes: [],
      },
    ]);
    expect(response.headers.get('x-token')).toBe('gone');
    const { deviceId } = controller.identity;
    expect(child.stderr()).toBe(
      `amesh: AMESH_BOOTSTRAP_TOKEN was taken: "laptop" (${deviceId}) may now call this machine. Undo: amesh revoke ${deviceId}\n`,
    );
    const { identity } = await openDevice(dir, {});
    expect(identity.friendlyName).toBe('prod-server');
    expect(await listOf(dir)).toMatchObject({
      devices: [{ deviceId: controller.identity.deviceId, roles: ['controller'] }],
      tokens: [{ kind: 'taken', issuer: controller.identity.deviceId, until: null }],
      revision: 2,
    });
  });

  it('gives its issuer the scopes in the token, and no others when a token is issued again', async () => {
    const { deviceId } = controller.identity;
    const { token, entry } = await issueProvision(controller, {
      friendlyName: 'x',
      scopes: ['b', 'a:*', 'a:x'],
    });
    expect(entry.scopes).toEqual(['a:*', 'b']);
    const take = (text: string) =>
      createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: text } }).bootstrapIfNeeded();
    expect(await take(token)).toBe(true);
    expect((await listOf(dir)).devices).toMatchObject([{ deviceId, scopes: ['a:*', 'b'] }]);
    const { token: wider } = await issueProvision(controller, { friendlyName: 'x', scopes: ['*'] });
    expect(await take(wider)).toBe(true);
    expect((await listOf(dir)).devices).toMatchObject([{ deviceId, scopes: ['a:*', 'b'] }]);
  });

  it('accepts requests for the hosts of the token', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'x', hosts: ['api.example.com'] });
    const child = start(target, [], token);
    expect((await call(child)).status).toBe(421); // by its address it is not called
    expect((await listOf(dir)).hosts).toEqual(['api.example.com']);
  });

  it('accepts a token with white space around it, as files have it', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'x' });
    expect((await call(start(target, [], `\n ${token}\n`))).status).toBe(200);
  });

  it('that starts again with the variable still set changes nothing, and says nothing', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    const first = start(target, [], token);
    expect((await call(first)).status).toBe(200);
    await stop(first);
    const before = await bytesOf(dir);
    const second = start(target, [], token);
    expect((await call(second)).status).toBe(200);
    expect(await bytesOf(dir)).toBe(before);
    expect(second.stderr()).toBe('');
  });

  it('a revoked controller does not come back with a token that is still in the environment', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    const first = start(target, [], token);
    expect((await call(first)).status).toBe(200);
    await stop(first);
    const { trust } = await openDevice(dir, {});
    const now = Math.floor(Date.now() / 1000);
    await trust.update((list) => revokeDevice(list, controller.identity.deviceId, now));
    const second = start(target, [], token);
    expect((await call(second)).status).toBe(401);
    expect(second.stderr()).toContain('unknown_device');
    expect(second.stderr()).not.toContain('token');
    expect((await listOf(dir)).devices).toEqual([]);
  });

  it('a revoked controller does not come back with another older token', async () => {
    const [one, two] = [
      await issueProvision(controller, { friendlyName: 'a' }),
      await issueProvision(controller, { friendlyName: 'b' }),
    ];
    const first = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: one.token } });
    expect(await first.bootstrapIfNeeded()).toBe(true);
    const { trust } = await openDevice(dir, {});
    const now = Math.floor(Date.now() / 1000);
    await trust.update((list) => revokeDevice(list, controller.identity.deviceId, now));
    const child = start(target, [], two.token);
    expect((await call(child)).status).toBe(401);
    expect(child.stderr()).toContain('AMESH_BOOTSTRAP_TOKEN was not taken, token_revoked');
    expect((await listOf(dir)).devices).toEqual([]);
  });

  it('that dies between identity and list continues from there', async () => {
    const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
    await createIdentity(dir, {}, { friendlyName: 'prod-server' });
    expect((await call(start(target, [], token))).status).toBe(200);
  });
});

it('16 workers of a cluster make one identity and one entry', async () => {
  const { token } = await issueProvision(controller, { friendlyName: 'prod-server' });
  const child = start(cluster, [dir, '16'], token);
  const response = await call(child);
  expect(response.status).toBe(200);
  const { identity } = await openDevice(dir, {});
  const workers = child.lines.filter((line) => !line.startsWith('port '));
  expect(workers).toEqual(Array(16).fill(`worker ${identity.deviceId} gone`));
  expect(child.stderr()).not.toMatch(/token|identity|failed/);
  expect(await listOf(dir)).toMatchObject({ revision: 2, devices: [{}], tokens: [{}] });
  expect(await readdir(join(dir, 'keys'))).toHaveLength(1);
});
