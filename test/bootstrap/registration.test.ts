import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  cancelToken,
  createIdentity,
  type Device,
  type IssuedToken,
  issueProvision,
  openDevice,
  type ProvisionOptions,
  revokeDevice,
  takeRegistration,
  UNASKED,
  waitForRegistration,
} from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import { postRegistration } from '../../src/bootstrap/provision/mailbox';
import { writeRegistration } from '../../src/bootstrap/provision/registration';
import { startRelay, type TestRelay } from '../relay/client';
import { callsOf } from '../support/calls-of';
import { documentOf } from '../support/list-document';
import { type Listening, listen } from '../support/listen';
import { SOON } from '../support/waiting';

let root: string;
let controller: Device;
let caller: Amesh;
let logged: ReturnType<typeof vi.spyOn>;
const servers: Listening[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
  await createIdentity(join(root, 'controller'), {}, { friendlyName: 'laptop' });
  controller = await openDevice(join(root, 'controller'), {});
  caller = createAmesh({ dir: join(root, 'controller'), env: {} });
});
afterEach(async () => {
  logged.mockRestore();
  for (const server of servers.splice(0)) await server.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const said = () =>
  callsOf(logged)
    .map(([line]: unknown[]) => String(line))
    .join('\n');
const targets = async () => (await documentOf(controller.trust)).devices;
const now = () => Math.floor(Date.now() / 1000);

async function issue(options: Partial<ProvisionOptions> = {}) {
  const { token, entry } = await issueProvision(controller, { friendlyName: 'prod-server', ...options });
  return { token, entry, id: entry.id };
}

interface Target extends Listening {
  readonly amesh: Amesh;
  /** What it has answered in the header, request by request. */
  readonly sent: (string | undefined)[];
}

async function startTarget(name: string, token: string): Promise<Target> {
  const amesh = createAmesh({ dir: join(root, name), env: { AMESH_BOOTSTRAP_TOKEN: token } });
  const verify = amesh.verify();
  const sent: (string | undefined)[] = [];
  const server = await listen((request, response) =>
    verify(request, response, () => {
      sent.push(response.getHeader('authmesh-registration') as string | undefined);
      response.end('passed');
    }),
  );
  servers.push(server);
  return { ...server, amesh, sent };
}

describe('in the first answer', () => {
  it('a machine tells the issuer who it is, until its requests name it', async () => {
    const { token, id } = await issue();
    const target = await startTarget('a', token);
    expect((await caller.fetch(target.origin)).status).toBe(200);
    const { deviceId } = await target.amesh.identity();
    expect(await targets()).toMatchObject([
      { deviceId, friendlyName: 'prod-server', roles: ['target'], hosts: [target.authority] },
    ]);
    expect((await documentOf(controller.trust)).tokens).toMatchObject([{ id, takenBy: expect.any(String) }]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await caller.fetch(target.origin);
    expect(target.sent).toEqual([expect.any(String), undefined]);
    expect(said()).not.toContain('token');
  });

  it('a repeated registration changes nothing', async () => {
    const { token } = await issue();
    const target = await startTarget('a', token);
    const impatient = createAmesh({ dir: join(root, 'controller'), env: {} });
    await Promise.all([caller.fetch(target.origin), impatient.fetch(target.origin)]);
    const before = await documentOf(controller.trust);
    expect(before.devices).toHaveLength(1);
    const again = await startTarget('a', token); // started again, its variable still set
    await caller.fetch(again.origin);
    expect((await targets()).map(({ friendlyName }) => friendlyName)).toEqual(['prod-server']);
    expect(said()).not.toContain('token');
  });

  it('of a second machine with the same token is refused and reported: token used twice', async () => {
    const { token } = await issue();
    const [first, second] = [await startTarget('a', token), await startTarget('b', token)];
    await caller.fetch(first.origin);
    const before = await documentOf(controller.trust);
    expect((await caller.fetch(second.origin)).status).toBe(200);
    expect(second.sent).toEqual([expect.any(String)]);
    expect(await documentOf(controller.trust)).toEqual(before);
    expect(said()).toContain(`token_used_twice, at ${second.authority}: The token was used twice`);
  });

  it('for a token that was cancelled adds no target, and is reported', async () => {
    const { token, id } = await issue();
    await controller.trust.update((list) => cancelToken(list, id, now()));
    const target = await startTarget('a', token);
    await caller.fetch(target.origin);
    expect(await targets()).toEqual([]);
    expect(said()).toContain('token_revoked');
  });

  it('does not bring a revoked target back', async () => {
    const { token } = await issue();
    const target = await startTarget('a', token);
    await caller.fetch(target.origin);
    const { deviceId } = await target.amesh.identity();
    await controller.trust.update((list) => revokeDevice(list, deviceId, now()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await caller.fetch(target.origin);
    expect(target.sent[1]).toBeDefined();
    expect(await targets()).toEqual([]);
  });

  it('does not make a target of a machine that was revoked, and then trusted as a controller only', async () => {
    const { token } = await issue();
    const target = await startTarget('a', token);
    await caller.fetch(target.origin);
    const { deviceId, publicKey } = await target.amesh.identity();
    await controller.trust.update(async (list) => {
      await revokeDevice(list, deviceId, now());
      await addDevice(list, { deviceId, publicKey, friendlyName: 'a', role: 'controller', hosts: [] }, now());
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await caller.fetch(target.origin);
    expect(target.sent[1]).toBeDefined();
    expect(await targets()).toMatchObject([{ deviceId, roles: ['controller'], hosts: [] }]);
  });

  it('does not bring back a machine that was revoked, and then takes an older token', async () => {
    const { deviceId, publicKey } = await createIdentity(join(root, 'b'), {}, { friendlyName: 'b' });
    const { signer } = await openDevice(join(root, 'b'), {});
    const register = async ({ id, secret }: IssuedToken) => {
      const machine = { signer, name: 'b', hosts: [] };
      const text = await writeRegistration({ jti: id, secret }, machine, UNASKED);
      return takeRegistration(controller, text, UNASKED);
    };
    const old = (await issue()).entry;
    const revokeAt = (seconds: number) =>
      controller.trust.update(async (list) => {
        await addDevice(list, { deviceId, publicKey, friendlyName: 'b', role: 'controller', hosts: [] }, 0);
        await revokeDevice(list, deviceId, seconds);
      });
    await revokeAt(old.issuedAt);
    await expect(register(old)).rejects.toMatchObject({ code: 'token_revoked' });
    expect(await targets()).toEqual([]);
    const trustAgain = () =>
      controller.trust.update((list) =>
        addDevice(list, { deviceId, publicKey, friendlyName: 'b', role: 'controller', hosts: [] }, now()),
      );
    await trustAgain(); // as a controller: the older token makes it no target
    await expect(register(old)).rejects.toMatchObject({ code: 'token_revoked' });
    expect(await targets()).toMatchObject([{ deviceId, roles: ['controller'] }]);
    await revokeAt(old.issuedAt - 1);
    await trustAgain();
    expect(await register(old)).toMatchObject({ deviceId, roles: ['controller', 'target'] });
  });

  it('names only hosts of the token, and where the machine was called', async () => {
    const { token, entry } = await issue({ hosts: ['api.example.com'] });
    const stranger = await createIdentity(join(root, 'b'), {}, { friendlyName: 'b' });
    const { signer } = await openDevice(join(root, 'b'), {});
    const machine = { signer, name: 'b', hosts: ['payments.example.com'] };
    const claims = { jti: entry.id, secret: entry.secret };
    const text = await writeRegistration(claims, machine, UNASKED);
    expect(await takeRegistration(controller, text, UNASKED)).toMatchObject({
      deviceId: stranger.deviceId,
      hosts: ['api.example.com'],
    });
    expect(token).not.toContain(entry.secret);
  });

  it.each(['nonce', 'authority'] as const)('of another %s is no answer to this request', async (member) => {
    const { entry } = await issue();
    await createIdentity(join(root, 'b'), {}, { friendlyName: 'b' });
    const { signer } = await openDevice(join(root, 'b'), {});
    const answered = { nonce: 'A'.repeat(22), authority: 'a.example' };
    const machine = { signer, name: 'b', hosts: [] };
    const text = await writeRegistration({ jti: entry.id, secret: entry.secret }, machine, answered);
    expect(await takeRegistration(controller, text, { ...answered, [member]: 'B'.repeat(22) })).toBeNull();
    expect(await targets()).toEqual([]);
    expect(await takeRegistration(controller, text, answered)).toMatchObject({ hosts: ['a.example'] });
  });

  it('without the secret, or with any character changed, proves nothing', async () => {
    const { entry } = await issue();
    await createIdentity(join(root, 'b'), {}, { friendlyName: 'b' });
    const { signer } = await openDevice(join(root, 'b'), {});
    const machine = { signer, name: 'b', hosts: [] };
    const other = await writeRegistration({ jti: entry.id, secret: 'A'.repeat(43) }, machine, UNASKED);
    expect(await takeRegistration(controller, other, UNASKED)).toBeNull();
    const text = await writeRegistration({ jti: entry.id, secret: entry.secret }, machine, UNASKED);
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1);
      if (text[at] !== '.') expect(await takeRegistration(controller, changed, UNASKED)).toBeNull();
    }
    for (const junk of ['', 'x', '..', 'a'.repeat(10_000)]) {
      expect(await takeRegistration(controller, junk, UNASKED)).toBeNull();
    }
    expect(await targets()).toEqual([]);
  });
});

describe('over the mailbox of a relay', () => {
  let relay: TestRelay;
  let url: string;
  beforeEach(async () => {
    relay = await startRelay();
    url = `ws://127.0.0.1:${relay.port}/ws`;
  });
  afterEach(() => relay.relay.close());

  const wait = (secret: string, relayUrl = url) =>
    waitForRegistration({
      relay: relayUrl,
      secret,
      untilMs: Date.now() + 20_000,
      isKnown: async () => false,
    });

  it('an issuer that waits learns about the machine before any request', async () => {
    const { token, entry } = await issue({ relay: url });
    const waiting = wait(entry.secret);
    const target = await startTarget('a', token);
    const text = await waiting;
    const { deviceId } = await target.amesh.identity();
    expect(await takeRegistration(controller, text ?? '', UNASKED)).toMatchObject({ deviceId });
  });

  it('it stays there for somebody who comes a little later', async () => {
    const { token, entry } = await issue({ relay: url });
    const target = await startTarget('a', token);
    expect(await target.amesh.bootstrapIfNeeded()).toBe(true);
    await vi.waitUntil(
      () => relay.log.some(({ event, outcome }) => event === 'post' && outcome === 'stored'),
      SOON,
    );
    expect(await takeRegistration(controller, (await wait(entry.secret)) ?? '', UNASKED)).not.toBeNull();
  });

  it('a machine takes its token even if there is no relay', async () => {
    const { token } = await issue({ relay: 'ws://127.0.0.1:1/ws' });
    const target = await startTarget('a', token);
    expect((await caller.fetch(target.origin)).status).toBe(200);
    expect(await targets()).toHaveLength(1);
    expect(said()).not.toContain('relay');
  });

  it('a relay sees neither tokens nor keys, names, hosts or secrets', async () => {
    const heard: string[] = [];
    const spy = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
    spy.on('connection', (socket) =>
      socket.on('message', (data) => {
        heard.push(String(data));
        socket.close();
      }),
    );
    await new Promise((resolve) => spy.once('listening', resolve));
    const relayUrl = `ws://127.0.0.1:${(spy.address() as { port: number }).port}/ws`;
    const { token, entry } = await issue({ relay: relayUrl, hosts: ['api.example.com'] });
    const target = await startTarget('a', token);
    await vi.waitUntil(() => heard.length > 0, 20_000);
    const { deviceId, publicKey } = await target.amesh.identity();
    const { box, body, ...frame } = JSON.parse(heard[0] as string);
    expect(frame).toEqual({ type: 'post', v: 1 });
    const wire = [box, body, Buffer.from(body, 'base64url').toString('latin1')].join(' ');
    const secrets = [
      ...token.split('.').slice(1),
      entry.id,
      entry.secret,
      deviceId,
      publicKey,
      'api.example',
    ];
    for (const secret of [...secrets, 'prod-server', 'laptop', controller.identity.publicKey])
      expect(wire).not.toContain(secret);
    const digest = createHash('sha256').update(Buffer.from(entry.secret, 'base64url')).digest('base64url');
    expect(box).not.toBe(digest.slice(0, 22));
    spy.close();
  });

  it('a relay that ends the wait immediately is not asked again and again', async () => {
    let waits = 0;
    const hostile = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/ws' });
    hostile.on('connection', (socket) =>
      socket.on('message', () => {
        waits++;
        socket.send('{"type":"error","code":"session_expired"}');
      }),
    );
    await new Promise((resolve) => hostile.once('listening', resolve));
    const { entry } = await issue();
    const relayUrl = `ws://127.0.0.1:${(hostile.address() as { port: number }).port}/ws`;
    await expect(wait(entry.secret, relayUrl)).rejects.toMatchObject({
      code: 'relay_busy',
      message: expect.stringContaining('does not let this machine wait (session_expired)'),
    });
    expect(waits).toBe(1);
    hostile.close();
  });

  it('messages of somebody else in the mailbox are ignored', async () => {
    const { entry } = await issue();
    const waiting = wait(entry.secret);
    await postRegistration(url, entry.secret, 'hello');
    expect(await takeRegistration(controller, (await waiting) ?? '', UNASKED)).toBeNull();
  });
});
