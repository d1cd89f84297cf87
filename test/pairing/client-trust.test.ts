import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  type Device,
  type DeviceEntry,
  inviteTarget,
  listenForController,
  openDevice,
  type Peer,
  revokeDevice,
  setHosts,
} from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../relay/client';
import { standBetween } from '../support/between';
import { newParty } from '../support/ceremony';
import { hostileController, hostileTarget } from '../support/hostile-peer';
import { changeDevices, documentOf } from '../support/list-document';
import { type Listening, listen } from '../support/listen';
import { deferred, pair, trustBetween, typist } from '../support/pairing';
import { useDevices } from '../support/use-devices';
import { useRelay } from '../support/use-relay';

const createDevice = useDevices();
const relay = useRelay();

const names = ({ devices }: { devices: readonly DeviceEntry[] }) =>
  devices.map(({ friendlyName }) => friendlyName);

/** A pairing whose last word is lost, or whose commit is: `M8` or `M7`. */
async function leaveUnconfirmed(lost: 'M7' | 'M8', hosts: readonly string[]) {
  const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
  const between = await standBetween(relay.port, (name, frame, { pass, cut }) =>
    name === lost ? cut() : pass(frame),
  );
  const { errors } = await pair({ controller, target, relay: between.url, invite: { hosts } });
  await between.close();
  expect((errors.controller as Error).message).toBe(
    'The other machine did not confirm the pairing. It is stored here as unconfirmed. The first successful response to a request confirms it. Or run amesh invite again.',
  );
  return { controller, target };
}

describe('a row that is unconfirmed', () => {
  let server: Listening;
  let other: Listening;
  let controller: Device;
  let target: Device;
  beforeAll(async () => {
    const verifies = {
      current: undefined as ReturnType<ReturnType<typeof createAmesh>['verify']> | undefined,
    };
    other = await listen((_, response) => response.end('anybody'));
    server = await listen((request, response) => {
      const path = request.url as string;
      if (path === '/away') return response.writeHead(302, { location: other.origin }).end();
      if (path === '/before') return response.writeHead(404).end('a proxy');
      if (path === '/basic') return response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      verifies.current?.(request, response, () => {
        if (path === '/here') response.writeHead(302, { location: '/' }).end();
        else response.writeHead(path === '/broken' ? 500 : 200).end('ok');
      });
    });
    ({ controller, target } = await leaveUnconfirmed('M8', [server.authority]));
    verifies.current = createAmesh({ dir: target.store.dir, env: {}, hosts: [server.authority] }).verify();
  });
  afterAll(() => Promise.all([server.close(), other.close()]));

  // So that what nobody proved gets to the row at all.
  const call = async (where: string) =>
    (await createAmesh({ dir: controller.store.dir, env: {}, answers: 'off' }).fetch(where)).status;
  const left = () => trustBetween(controller, target);

  it.each([
    ['a server error', '/broken', 500],
    ['what a proxy says', '/before', 404],
    ['a refusal that is not from amesh', '/basic', 401],
    ['what a redirect leads to elsewhere', '/away', 200],
  ])('stays so at %s', async (_, path, status) => {
    expect(await call(server.origin + path)).toBe(status);
    expect(await left()).toBe('unconfirmed, trusted');
  });

  it('stays so if another host responds', async () => {
    expect(await call(other.origin)).toBe(200);
    expect(await left()).toBe('unconfirmed, trusted');
  });

  it('stays so if another host redirects to this one, since that request is not signed', async () => {
    const open = await listen((_, response) => response.end('for everybody'));
    const alike = await listen((_, response) => response.writeHead(302, { location: open.origin }).end());
    const { controller, target } = await leaveUnconfirmed('M7', [open.authority]);
    const response = await createAmesh({ dir: controller.store.dir, env: {}, answers: 'off' }).fetch(
      alike.origin,
    );
    expect(response.status).toBe(200);
    expect(await trustBetween(controller, target)).toBe('unconfirmed, none');
    await Promise.all([open.close(), alike.close()]);
  });

  it('stays so when the target refuses', async () => {
    const nowhere = await leaveUnconfirmed('M7', ['127.0.0.1:1']);
    const amesh = createAmesh({ dir: nowhere.target.store.dir, env: {} });
    const refusing = await listen((request, response) =>
      amesh.verify({ hosts: [refusing.authority] })(request, response, () => response.end('ok')),
    );
    await changeDevices(nowhere.controller.trust, (row) => ({ ...row, hosts: [refusing.authority] }));
    const response = await createAmesh({
      dir: nowhere.controller.store.dir,
      env: {},
      answers: 'off',
    }).fetch(refusing.origin);
    expect(response.status).toBe(401);
    expect(await trustBetween(nowhere.controller, nowhere.target)).toBe('unconfirmed, none');
    await refusing.close();
  });

  it('is confirmed by the first request that the target answers', async () => {
    expect(await call(`${server.origin}/`)).toBe(200);
    expect(await left()).toBe('paired');
  });

  it('is gone when it is revoked', async () => {
    const { controller, target } = await leaveUnconfirmed('M7', ['a.example']);
    await controller.trust.update((list) => revokeDevice(list, target.identity.deviceId, 1));
    expect(await trustBetween(controller, target)).toBe('none');
  });
});

describe.concurrent('one machine at both ends', () => {
  it.concurrent('is noticed at both', async () => {
    const device = await createDevice('alone');
    const { errors } = await pair({ target: device, controller: device, relay: relay.url });
    const messages = [errors.target, errors.controller].map((error) => (error as Error).message);
    // The one that is told second may hear only that the other has gone.
    expect(messages).toContain(
      'Both ends are this machine. Run amesh listen on the other machine, or with another AUTH_MESH_DIR.',
    );
    expect((await documentOf(device.trust)).devices).toEqual([]);
  });
});

describe.concurrent('hosts', () => {
  it.concurrent('are stored at both ends once it is paired', async () => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
    const listen = { hosts: ['api.example.com', 'API.example.com:443'] };
    expect((await pair({ controller, target, relay: relay.url, listen })).errors).toEqual({});
    expect((await documentOf(target.trust)).hosts).toEqual(['api.example.com']);
    expect((await documentOf(controller.trust)).devices[0]?.hosts).toEqual(['api.example.com']);
  });

  it.concurrent('are stored nowhere if the pairing fails', async () => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
    const listen = { hosts: ['api.example.com'] };
    await pair({
      controller,
      target,
      relay: relay.url,
      listen,
      atController: { confirm: async () => false },
    });
    expect((await documentOf(target.trust)).hosts).toEqual([]);
    expect(await trustBetween(controller, target)).toBe('none');
  });

  it.concurrent('that the target names are not stored if nobody has compared the codes', async () => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
    const listen = { hosts: ['bank.example'] };
    const seen = deferred<string>();
    const { errors } = await pair({
      controller,
      target,
      relay: relay.url,
      listen,
      atTarget: { typeCode: () => seen.promise },
      invite: { person: { showCode: seen.resolve, confirm: null } },
    });
    expect(errors).toEqual({});
    expect((await documentOf(controller.trust)).devices[0]?.hosts).toEqual([]);
    expect(await trustBetween(controller, target)).toBe('paired');
  });

  it.concurrent.each([
    ['with somebody who looks', undefined],
    ['without', null],
  ])('that are given replace those that it names, %s', async (_, confirm) => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
    const seen = deferred<string>();
    await pair({
      controller,
      target,
      relay: relay.url,
      listen: { hosts: ['bank.example'] },
      atTarget: { typeCode: () => seen.promise },
      atController: { showCode: seen.resolve },
      invite: {
        hosts: ['10.0.0.7:8080'],
        ...(confirm === null && { person: { showCode: seen.resolve, confirm } }),
      },
    });
    expect((await documentOf(controller.trust)).devices[0]?.hosts).toEqual(['10.0.0.7:8080']);
  });

  it.concurrent('of another target are refused before anybody types', async () => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('evil')];
    const { deviceId, publicKey } = (await createDevice('bank')).identity;
    const bank = {
      deviceId,
      publicKey,
      friendlyName: 'bank',
      role: 'target',
      hosts: ['bank.example'],
    } as const;
    await controller.trust.update((list) => addDevice(list, bank, 1));
    let shown = 0;
    const ended = await pair({
      controller,
      target,
      relay: relay.url,
      listen: { hosts: ['bank.example'] },
      atController: { showCode: () => void shown++ },
    });
    expect([ended.controller, ended.target, shown]).toEqual(['host_taken', 'peer_gone', 0]);
    expect((ended.errors.controller as Error).message).toContain('bank.example already belongs to "bank".');
    expect(names(await documentOf(controller.trust))).toEqual(['bank']);
    expect(await trustBetween(controller, target)).toBe('none');
  });

  it.concurrent('in any number do not keep a target from pairing: it names as many as fit', async () => {
    const [controller, target] = [await createDevice('laptop'), await createDevice('prod-api')];
    const many = Array.from({ length: 60 }, (_, i) => `${i}.${'x'.repeat(60)}.example.com`);
    await target.trust.update((list) => setHosts(list, many));
    const { errors } = await pair({
      controller,
      target,
      relay: relay.url,
      listen: { hosts: ['new.example'] },
    });
    expect(errors).toEqual({});
    expect((await documentOf(controller.trust)).devices[0]?.hosts).toEqual(
      ['new.example', ...many.slice(0, 31)].sort(),
    );
  });
});

describe.concurrent('maxControllers', () => {
  async function full(count: number) {
    const target = await createDevice('prod-api');
    const old: Device[] = [];
    for (let i = 0; i < count; i++) {
      const device = await createDevice(`old-${i}`);
      const { deviceId, publicKey, friendlyName } = device.identity;
      await target.trust.update((list) =>
        addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 100 - i),
      );
      old.push(device);
    }
    return { target, old, controller: await createDevice('laptop') };
  }

  it.concurrent('keeps the one that is there, and both sides end', async () => {
    const { target, controller } = await full(1);
    const ended = await pair({ target, controller, relay: relay.url, listen: { maxControllers: 1 } });
    expect([ended.target, ended.controller]).toEqual(['pairing_declined', 'pairing_declined']);
    expect((ended.errors.target as Error).message).toContain('This machine keeps its existing controllers.');
    expect((ended.errors.controller as Error).message).toContain('The target declined.');
    expect(ended.seen.verified).toBeUndefined();
    expect(names(await documentOf(target.trust))).toEqual(['old-0']);
  });

  it.concurrent('asks about all who would have to go, the oldest first', async () => {
    const { target, controller } = await full(3);
    const asked: [string[], Peer][] = [];
    const ended = await pair({
      target,
      controller,
      relay: relay.url,
      listen: { maxControllers: 2 },
      atTarget: {
        replace: async (old, peer) => {
          asked.push([names({ devices: old }), peer]);
          return true;
        },
      },
    });
    expect(ended.errors).toEqual({});
    expect(asked.map(([old, { friendlyName }]) => [old, friendlyName])).toEqual([
      [['old-2', 'old-1'], 'laptop'],
    ]);
    const list = await documentOf(target.trust);
    expect(names(list)).toEqual(['old-0', 'laptop']);
    expect(list.tombstones).toHaveLength(2);
  });

  it.concurrent('accepts one again that is there, however full it is', async () => {
    const { target, old } = await full(2);
    const ended = await pair({
      target,
      controller: old[0] as Device,
      relay: relay.url,
      listen: { maxControllers: 1 },
    });
    expect(ended.errors).toEqual({});
    expect(names(await documentOf(target.trust)).sort()).toEqual(['old-0', 'old-1']);
  });

  it.concurrent('does not count those whose trust or lease has ended, and removes none that may call', async () => {
    const { target, old, controller } = await full(3);
    const lease = { grant: 'G'.repeat(22), expiresAt: 1000, endsAt: 1000 };
    const [, ended, leased] = await Promise.all(
      old.map(({ identity }) => target.trust.preview((list) => list.device(identity.deviceId))),
    );
    await target.trust.update(async (list) => {
      await list.put({ ...(ended as DeviceEntry), expiresAt: 1000 });
      await list.put({ ...(leased as DeviceEntry), expiresAt: Math.floor(Date.now() / 1000), lease });
    });
    const first = { target, relay: relay.url, listen: { maxControllers: 2 } };
    expect((await pair({ ...first, controller })).errors).toEqual({});
    // The next one is in the list, but may not call.
    const next = await pair({ ...first, controller: old[1] as Device });
    expect([next.target, next.controller]).toEqual(['pairing_declined', 'pairing_declined']);
    const { deviceId } = (old[0] as Device).identity;
    expect((await target.trust.read()).find(deviceId)).toMatchObject({ roles: ['controller'] });
  });

  it.concurrent('also holds if another one came while the code was typed', async () => {
    const { target, controller } = await full(0);
    const { publicKey, deviceId } = (await createDevice('quicker')).identity;
    const quicker = { deviceId, publicKey, friendlyName: 'quicker', role: 'controller', hosts: [] } as const;
    const ended = await pair({
      target,
      controller,
      relay: relay.url,
      listen: { maxControllers: 1 },
      atController: {
        confirm: async () => {
          await target.trust.update((list) => addDevice(list, quicker, 1));
          return true;
        },
      },
    });
    expect([ended.target, ended.controller]).toEqual(['pairing_declined', 'pairing_unconfirmed']);
    expect(names(await documentOf(target.trust))).toEqual(['quicker']);
    expect(await trustBetween(controller, target)).toBe('unconfirmed, none');
  });

  it.concurrent.each([0, -1, 1.5, Number.NaN, '1'])('is no %j', async (maxControllers) => {
    const { target, controller } = await full(0);
    const { errors } = await pair({
      target,
      controller,
      relay: relay.url,
      listen: { maxControllers } as never,
    });
    expect(errors.target).toBeInstanceOf(TypeError);
  });
});

/** What a peer may call itself, and what it is called here. */
const NAMES: [attack: string, name: string, stored: string][] = [
  ['ANSI sequences', '\u001b[2J\u001b]0;owned\u0007red\u001b[0m', 'red'],
  ['bidirectional overrides', 'alice\u202egpj.exe\u202c', 'alicegpj.exe'],
  [
    'lines of its own',
    'alice\n✓ "root" may now call this machine.',
    'alice ✓ "root" may now call this machine.',
  ],
  ['what looks like an id', 'am_cOixWcOdI8-pLh4P', 'device am_cOixWcOdI8-pLh4P'],
  ['much text', 'n'.repeat(256), 'n'.repeat(64)],
  ['much text outside the first plane', '🚀'.repeat(128), '🚀'.repeat(64)],
  ['the name of another', 'known', 'known'],
  ['the name of another, as it seems', 'kno\u200bwn', 'known'],
  ['nothing', '', 'unnamed'],
];

describe.concurrent('a peer whose name is', () => {
  async function createVictim() {
    const device = await createDevice('victim');
    const { publicKey, deviceId } = (await createDevice('known')).identity;
    const known = { deviceId, publicKey, friendlyName: 'known', role: 'controller', hosts: [] } as const;
    await device.trust.update((list) => addDevice(list, known, 1));
    return device;
  }

  it.concurrent.each(NAMES)('%s is harmless as a controller', async (_, name, stored) => {
    const device = await createVictim();
    const code = deferred<string>();
    const typed = deferred<string>();
    const listening = listenForController({
      device,
      relay: relay.url,
      person: typist(code.resolve, typed.promise),
    });
    const client = await Client.open(relay.port);
    const peer = hostileController(client, await code.promise, await newParty('controller', name));
    typed.resolve(await peer.verificationCode);
    expect((await listening).controller.friendlyName).toBe(stored);
  });

  it.concurrent.each(NAMES)('%s is harmless as a target', async (_, name, stored) => {
    const device = await createVictim();
    const client = await Client.open(relay.port);
    const code = await client.listen();
    const typed = deferred<string>();
    hostileTarget(client, code, await newParty('target', name), typed.promise);
    let seen: Peer | undefined;
    const target = await inviteTarget({
      device,
      relay: relay.url,
      code,
      person: {
        showCode: (shown, peer) => {
          typed.resolve(shown);
          seen = peer;
        },
        confirm: async () => true,
      },
    });
    expect(target.friendlyName).toBe(stored);
    expect(seen?.friendlyName).toBe(stored);
  });

  describe('the name of another device in a different case', () => {
    async function createNamesakes() {
      const [target, controller] = [await createVictim(), await createVictim()];
      const path = (device: Device) => join(device.store.dir, 'identity.json');
      for (const device of [target, controller])
        await writeFile(
          path(device),
          JSON.stringify({ ...(await readJson(path(device))), friendlyName: 'KNOWN' }),
        );
      return {
        target: await openDevice(target.store.dir, {}),
        controller: await openDevice(controller.store.dir, {}),
      };
    }
    const readJson = async (path: string) => JSON.parse(await readFile(path, 'utf8'));

    it.concurrent('is a question at the target, and a note at the controller before the code', async () => {
      const { target, controller } = await createNamesakes();
      const told: string[] = [];
      const { errors } = await pair({
        target,
        controller,
        relay: relay.url,
        atTarget: {
          shareName: async (others, peer) => {
            told.push(`target: ${names({ devices: others })} ${peer.friendlyName}`);
            return true;
          },
        },
        atController: {
          sharesName: (others, peer) => {
            told.push(`controller: ${names({ devices: others })} ${peer.friendlyName}`);
          },
          showCode: () => void told.push('code'),
        },
      });
      expect(errors).toEqual({});
      expect(told).toEqual(['controller: known KNOWN', 'code', 'target: known KNOWN']);
      expect(names(await documentOf(target.trust))).toEqual(['known', 'KNOWN']);
    });

    it.concurrent('is declined by a no at the target, which saves nothing', async () => {
      const { target, controller } = await createNamesakes();
      const { errors } = await pair({
        target,
        controller,
        relay: relay.url,
        atTarget: { shareName: async () => false },
      });
      expect(errors.target).toMatchObject({
        code: 'pairing_declined',
        message: expect.stringContaining('A second device called "KNOWN" was declined on this machine.'),
      });
      expect(errors.controller).toMatchObject({ code: 'pairing_declined' });
      expect(await trustBetween(controller, target)).toBe('none');
    });

    it.concurrent('asks nothing if the device is already in the list', async () => {
      const { target, controller } = await createNamesakes();
      expect((await pair({ target, controller, relay: relay.url })).errors).toEqual({});
      const asked: string[] = [];
      const { errors } = await pair({
        target,
        controller,
        relay: relay.url,
        atTarget: {
          shareName: async () => {
            asked.push('target');
            return false;
          },
        },
        atController: { sharesName: () => void asked.push('controller') },
      });
      expect(errors).toEqual({});
      expect(asked).toEqual([]);
    });
  });

  it.concurrent.each([
    ['10 kB', 'n'.repeat(10_000), 'n'.repeat(64)],
    ['half a character', 'a\ud800b', 'a\ufffdb'],
  ])('written into its identity.json, %s, is cleaned before it is sent', async (_, name, stored) => {
    const devices = await Promise.all(
      ['laptop', 'prod-api'].map(async (role) => {
        const { store } = await createDevice(role);
        const path = join(store.dir, 'identity.json');
        const identity = JSON.parse(await readFile(path, 'utf8'));
        await writeFile(path, JSON.stringify({ ...identity, friendlyName: name }));
        return openDevice(store.dir, {});
      }),
    );
    const [controller, target] = devices as [Device, Device];
    expect((await pair({ controller, target, relay: relay.url })).errors).toEqual({});
    expect(names(await documentOf(target.trust))).toEqual([stored]);
    expect(names(await documentOf(controller.trust))).toEqual([stored]);
  });
});
