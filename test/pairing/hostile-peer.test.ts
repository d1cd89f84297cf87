import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, listenForController, openDevice, type TargetPerson } from '@authmesh/sdk/admin';
import { beforeAll, describe, expect, it } from 'vitest';
import { Controller } from '../../src/pairing/ceremony/controller';
import type { Introduction } from '../../src/pairing/ceremony/introduction';
import { writeM1, writeM2, writeM3 } from '../../src/pairing/ceremony/key-exchange';
import { commitment } from '../../src/pairing/ceremony/key-schedule';
import { newEphemeral } from '../../src/pairing/ceremony/suite';
import { Target } from '../../src/pairing/ceremony/target';
import { toPeer } from '../../src/pairing/peer';
import { holdCeremony, newParty, type Party } from '../support/ceremony';
import { type Leg, meetController, meetTarget } from '../support/mallory';
import { buildPairing, type Pairing } from '../support/pairing-build';

const CODE = '482916';
const REFUSED = [{ type: 'fail', failure: 'tampered' }];

let pairing: Pairing;
let laptop: Party;
let server: Party;
let mallory: Party;

beforeAll(async () => {
  pairing = await buildPairing();
  laptop = await newParty('controller', 'laptop');
  server = await newParty('target', 'prod-api', ['api.example.com']);
  mallory = await newParty('target', 'mallory');
});

/** A peer that has the keys, and signs whatever it says of itself. */
async function introduce(leg: Leg, content: object): Promise<Record<string, unknown>> {
  const own = { ...mallory.own, ...content } as Introduction;
  return { ...own, ...(await pairing.writeIntroduction(leg.keys.th, own, mallory.signer)) };
}

/** What a controller does about an M5 of a target that speaks so. */
async function fromTarget(make: (leg: Leg) => object | Promise<object>) {
  const controller = new Controller({ code: CODE, ...laptop });
  const leg = await meetController(pairing, controller, { code: CODE });
  const body = await leg.channel.seal('m5', await make(leg));
  return controller.handle({ type: 'message', body });
}

/** What a target does about an M4 of a controller that speaks so. */
async function fromController(make: (leg: Leg) => object | Promise<object>) {
  const target = new Target({ code: CODE, ...server });
  const leg = await meetTarget(pairing, target, { code: CODE });
  const body = await leg.channel.seal('m4', await make(leg));
  return target.handle({ type: 'message', body });
}

describe('a peer that has the keys', () => {
  it('is accepted if it keeps to the format', async () => {
    const hosts = ['api.example.com', 'api.example.com:8443', '[::1]:3000'];
    expect(await fromTarget((leg) => introduce(leg, { hosts }))).toMatchObject([{ type: 'show' }]);
    const actions = await fromController((leg) => introduce(leg, { role: 'controller', hosts: [] }));
    expect(actions).toMatchObject([{ type: 'send' }, { type: 'ask_code' }]);
  });

  it('may have a name as long as a message: all of it is signed, and 64 code points are kept', async () => {
    const name = '🚀'.repeat(1000);
    const [action] = await fromTarget((leg) => introduce(leg, { name }));
    expect(action).toMatchObject({ type: 'show', peer: { name } });
    const peer = await toPeer((action as { peer: Introduction }).peer);
    expect(peer.friendlyName).toBe('🚀'.repeat(64));
    const cut = async (leg: Leg) => ({ ...(await introduce(leg, { name })), name: '🚀'.repeat(64) });
    expect(await fromTarget(cut)).toMatchObject(REFUSED);
    const controller = { role: 'controller', hosts: [], name: 'x'.repeat(3000) };
    expect(await fromController((leg) => introduce(leg, controller))).toMatchObject([
      { type: 'send' },
      { type: 'ask_code' },
    ]);
    expect(await fromTarget((leg) => introduce(leg, { name: 'x'.repeat(6000) }))).toMatchObject(REFUSED);
  });

  it.each<[string, object]>([
    ['another role', { role: 'controller' }],
    ['no role', { role: undefined }],
    ['a key of 32 bytes', { publicKey: 'A'.repeat(43) }],
    ['a key that is not a point', { publicKey: `A${'_'.repeat(43)}` }],
    ['a key that is not base64url', { publicKey: '*'.repeat(44) }],
    ['a name that is not text', { name: ['laptop'] }],
    ['half a surrogate pair as its name', { name: '\ud83d' }],
    ['hosts that are not a list', { hosts: { length: 0 } }],
    ['33 hosts', { hosts: Array.from({ length: 33 }, (_, i) => `${i}.example.com`) }],
    [
      'hosts of 4,200 characters',
      { hosts: Array.from({ length: 20 }, (_, i) => `${`${'x'.repeat(50)}.`.repeat(4)}xxxx${10 + i}`) },
    ],
    ['one host twice', { hosts: ['api.example.com', 'api.example.com'] }],
    ['one host in two spellings', { hosts: ['api.example.com', 'API.example.com'] }],
    ['a host with a port that says nothing', { hosts: ['api.example.com:443'] }],
    ['a host with nothing between its dots', { hosts: ['api..example.com'] }],
    ['a host with a path', { hosts: ['api.example.com/v1'] }],
    ['a host that writes on the terminal', { hosts: ['\u001b[2Japi.example.com'] }],
    ['a host that reads from right to left', { hosts: ['\u202emoc.elpmaxe'] }],
    ['a host that is not text', { hosts: [null] }],
    ['more than there is to say', { admin: true }],
    ['a prototype', JSON.parse('{"__proto__":{"admin":true}}')],
  ])('is refused with %s', async (_, content) => {
    const make = async (leg: Leg) => {
      const own = { ...mallory.own, ...content };
      const signable = {
        ...own,
        role: own.role ?? 'target',
        name: String(own.name),
        hosts: Array.isArray(own.hosts) ? own.hosts.map(String) : [],
      };
      const { sig } = (await introduce(leg, signable)) as { sig: string };
      // Through JSON, so that __proto__ is a member like any other.
      return {
        toJSON: () =>
          Object.defineProperties({}, Object.getOwnPropertyDescriptors({ ...own, ...content, sig })),
      };
    };
    expect(await fromTarget(make)).toMatchObject(REFUSED);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('is refused with a role that it has not signed', async () => {
    const make = async (leg: Leg) => ({ ...(await introduce(leg, {})), role: 'controller' });
    expect(await fromTarget(make)).toMatchObject(REFUSED);
  });

  it('has exactly one form for what it sends in clear', async () => {
    const com = Buffer.alloc(32).toString('base64url');
    const rest = `"suite":"p256-hkdf-sha256-aes256gcm","role":"controller","com":"${com}"}`;
    const send = (body: string) =>
      new Target({ code: CODE, ...server }).handle({ type: 'message', body: body });
    expect(await send(`{"type":"m1","versions":[1],${rest}`)).toMatchObject([{ type: 'send' }]);
    for (const body of [
      ` {"type":"m1","versions":[1],${rest}`,
      `{"type":"m1","versions":[1], ${rest}`,
      `{"type":"m1","versions":[1],"versions":[1],${rest}`,
      `{"type":"m1","versions":[1.0],${rest}`,
      `{"type":"m1","versions":[1e0],${rest}`,
      `{"versions":[1],"type":"m1",${rest}`,
      `{"type":"m1","__proto__":1,"versions":[1],${rest}`,
      `{"type":"\\u006d1","versions":[1],${rest}`,
      `{"type":"m1","versions":[1],${rest.replace(com, `${com.slice(0, -1)}B`)}`,
      `{"type":"m1","versions":[1],${rest.replace(com, `${com}=`)}`,
    ]) {
      expect(await send(body), body).toEqual(REFUSED);
    }
  });

  it('is refused with a signature that is not one', async () => {
    for (const sig of ['', 'AA', 'A'.repeat(86), 'A'.repeat(4096), '*', 1, null, undefined]) {
      expect(await fromTarget(async (leg) => ({ ...(await introduce(leg, {})), sig }))).toMatchObject(
        REFUSED,
      );
    }
  });

  it('is refused with an introduction that is not an object', async () => {
    for (const content of [[], ['m5'], [[]], {}])
      expect(await fromTarget(() => content)).toMatchObject(REFUSED);
  });

  it('has no hosts as a controller', async () => {
    const actions = await fromController((leg) =>
      introduce(leg, { role: 'controller', hosts: ['api.example.com'] }),
    );
    expect(actions).toEqual(REFUSED);
  });

  it('cannot commit before it was verified', async () => {
    const target = new Target({ code: CODE, ...server });
    const leg = await meetTarget(pairing, target, { code: CODE });
    const own = await introduce(leg, { role: 'controller' });
    await target.handle({ type: 'message', body: await leg.channel.seal('m4', own) });
    const commit = await leg.channel.seal('m7', {});
    expect(await target.handle({ type: 'message', body: commit })).toEqual(REFUSED);
    expect(await target.handle({ type: 'typed', text: leg.keys.verificationCode })).toEqual([]);
  });

  it.each([{ refused: 'tampered' }, { refused: 'declined', by: 'me' }, { verified: true }, []])(
    'cannot use %o as a verdict',
    async (content) => {
      const controller = new Controller({ code: CODE, ...laptop });
      const leg = await meetController(pairing, controller, { code: CODE });
      const m5 = await leg.channel.seal('m5', await introduce(leg, {}));
      await controller.handle({ type: 'message', body: m5 });
      const m6 = await leg.channel.seal('m6', content);
      expect(await controller.handle({ type: 'message', body: m6 })).toMatchObject(REFUSED);
    },
  );

  it('leaves the target unconfirmed with anything but a plain M8', async () => {
    const controller = new Controller({ code: CODE, ...laptop });
    const leg = await meetController(pairing, controller, { code: CODE });
    for (const [type, content] of [
      ['m5', await introduce(leg, {})],
      ['m6', {}],
    ] as const) {
      await controller.handle({ type: 'message', body: await leg.channel.seal(type, content) });
    }
    await controller.handle({ type: 'answer', yes: true });
    await controller.handle({ type: 'saved' });
    const m8 = await leg.channel.seal('m8', { refused: 'declined' });
    expect(await controller.handle({ type: 'message', body: m8 })).toEqual([
      { type: 'fail', failure: 'tampered', unconfirmed: true },
    ]);
  });

  it('cannot verify before the introduction, nor send one message in place of another', async () => {
    const controller = new Controller({ code: CODE, ...laptop });
    const leg = await meetController(pairing, controller, { code: CODE });
    const verdict = await leg.channel.seal('m6', {});
    expect(await controller.handle({ type: 'message', body: verdict })).toMatchObject(REFUSED);

    const other = new Controller({ code: CODE, ...laptop });
    const channel = await meetController(pairing, other, { code: CODE });
    await other.handle({
      type: 'message',
      body: await channel.channel.seal('m5', await introduce(channel, {})),
    });
    const done = await channel.channel.seal('m8', {});
    expect(await other.handle({ type: 'message', body: done })).toMatchObject(REFUSED);
  });
});

describe('a share of the key agreement', () => {
  const nonce = new Uint8Array(32);

  async function toController(share: Uint8Array, ephemeral = newEphemeral()) {
    const controller = new Controller({ code: CODE, ...laptop, ephemeral: await ephemeral });
    await controller.handle({ type: 'start' });
    return controller.handle({ type: 'message', body: writeM2({ eT: share, nT: nonce }) });
  }

  async function toTarget(share: Uint8Array, ephemeral = newEphemeral()) {
    const target = new Target({ code: CODE, ...server, ephemeral: await ephemeral });
    await target.handle({ type: 'message', body: writeM1({ com: await commitment(share, nonce) }) });
    return target.handle({ type: 'message', body: writeM3({ eC: share, nC: nonce }) });
  }

  it('that is sent back to its own sender is refused by both sides', async () => {
    const own = await newEphemeral();
    expect(await toController(own.publicKey)).toMatchObject([{ type: 'send' }, { type: 'send' }]);
    expect(await toController(own.publicKey, Promise.resolve(own))).toEqual([
      expect.objectContaining(REFUSED[0]),
    ]);
    expect(await toTarget(own.publicKey)).toEqual([]);
    expect(await toTarget(own.publicKey, Promise.resolve(own))).toEqual(REFUSED);
  });
});

describe('an introduction of our own', () => {
  it('fits into a message of 8 KiB, whatever it contains', async () => {
    const party = async (role: 'controller' | 'target') => {
      const hosts =
        role === 'target'
          ? Array.from({ length: 32 }, (_, i) => `${`${'x'.repeat(60)}.`.repeat(2)}xxxx${10 + i}`)
          : [];
      return newParty(role, '\u0001'.repeat(256), hosts); // six characters each in JSON
    };
    let longest = 0;
    const outcome = await holdCeremony({
      controller: await party('controller'),
      target: await party('target'),
      relay: (_from, _index, body) => {
        longest = Math.max(longest, body.length);
        return { on: [body] };
      },
    });
    expect(outcome.confirmed).toBe(true);
    expect(longest).toBeLessThanOrEqual(8192);
  });

  it('that a peer would refuse is a TypeError before anything is sent', async () => {
    const make = (own: object) => () => new Target({ code: CODE, ...server, own: { ...server.own, ...own } });
    expect(make({})).not.toThrow();
    expect(make({ role: 'controller' })).toThrow(
      new TypeError('A target must introduce itself as a target.'),
    );
    expect(make({ publicKey: laptop.own.publicKey })).toThrow(
      new TypeError('A device must introduce itself with the public key of its signer.'),
    );
    expect(make({ name: '\udc00' })).toThrow(/well-formed text of at most 256/);
    expect(make({ hosts: ['API.example.com'] })).toThrow(/at most 32 hosts/);
    const controller = () =>
      new Controller({ code: CODE, ...laptop, own: { ...laptop.own, hosts: ['a.example'] } });
    expect(controller).toThrow(new TypeError('A controller must not introduce hosts.'));
  });

  it('that is too long is a TypeError before a relay is asked for a code', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    try {
      await createIdentity(dir, {}, { friendlyName: 'prod-api' });
      const listen = async (count: number) =>
        listenForController({
          device: await openDevice(dir, {}),
          relay: 'ws://127.0.0.1:1/ws', // nobody is there
          person: {} as TargetPerson,
          hosts: Array.from({ length: count }, (_, i) => `${i}.example.com`),
        });
      await expect(listen(33)).rejects.toThrow(/^A target can introduce at most 32 hosts/);
      await expect(listen(32)).rejects.toMatchObject({ code: 'relay_unreachable' });
    } finally {
      await rm(dir, { recursive: true, maxRetries: 20 });
    }
  });
});
