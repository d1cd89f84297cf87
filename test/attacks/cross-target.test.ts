import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AmeshOptions, createAmesh, type Refusal, type VerifyOptions } from '@authmesh/sdk';
import { addDevice, createIdentity, type Device, openDevice, setHosts } from '@authmesh/sdk/admin';
import express from 'express';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { exchange, head } from '../support/raw-http';

/**
 * One caller is paired with two servers. The first is hostile, or is listened to: what it was sent is sent on to the
 * second, byte for byte but for what an attacker can choose.
 */

interface Target {
  readonly device: Device;
  readonly dir: string;
  server: Listening;
  readonly refusals: Refusal[];
}

let root: string;
let caller: Device;
let targets: readonly [Target, Target];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  caller = await machine('caller');
  targets = [await target('first'), await target('second')];
});

afterEach(async () => {
  for (const { server } of targets) await server.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

async function machine(name: string): Promise<Device> {
  await createIdentity(join(root, name), {}, { friendlyName: name });
  return openDevice(join(root, name), {});
}

async function target(name: string): Promise<Target> {
  const device = await machine(name);
  const { deviceId, publicKey } = caller.identity;
  const controller = { deviceId, publicKey, friendlyName: 'caller', role: 'controller' as const, hosts: [] };
  await device.trust.update((list) => addDevice(list, controller, 0));
  const made: Target = {
    device,
    dir: join(root, name),
    server: undefined as unknown as Listening,
    refusals: [],
  };
  await start(made);
  return made;
}

/** Starts, or starts again with other options, the server of a target. */
async function start(target: Target, options: VerifyOptions = {}, trustProxy = false): Promise<void> {
  await target.server?.close();
  const amesh = createAmesh({
    dir: target.dir,
    env: {},
    onRefusal: (it) => void target.refusals.push(it as Refusal),
  });
  const app = express();
  app.set('trust proxy', trustProxy);
  app.use(amesh.verify(options), express.json());
  app.post('/orders', (req, res) => void res.json({ caller: req.authMesh.friendlyName }));
  target.server = await listen(app);
}

/** What the caller's `amesh.fetch` sends for a URL; it is caught before it goes out. */
async function capture(url: string, options: AmeshOptions = {}): Promise<Record<string, string>> {
  let headers = new Headers();
  const amesh = createAmesh({
    dir: join(root, 'caller'),
    env: {},
    fetch: async (_input, init) => {
      headers = new Headers(init?.headers);
      return new Response();
    },
    answers: 'off', // nobody answers
    ...options,
  });
  await amesh.fetch(url, { method: 'POST', body: BODY, headers: { 'content-type': 'application/json' } });
  return Object.fromEntries(headers);
}

const BODY = '{"amount":100}';

async function send({ server }: Target, host: string, headers: Readonly<Record<string, string>>) {
  const lines = { Host: host, ...headers, 'Content-Length': String(BODY.length) };
  return exchange(server.port, head('POST /orders HTTP/1.1', lines), BODY);
}

const lastCode = ({ refusals }: Target) => refusals.at(-1)?.code;

describe.each(['authmesh', 'rfc9421'] as const)(
  'a request of one target replayed at another (%s)',
  (format) => {
    it('both without hosts', async () => {
      const [first, second] = targets;
      const headers = await capture(`${first.server.origin}/orders`, { format });
      expect(headers['authmesh-target']).toBeUndefined();
      // As it was, under the second server's own name, and under names of no port.
      for (const host of [first.server.authority, second.server.authority, '127.0.0.1', 'localhost']) {
        expect((await send(second, host, headers)).status, host).toBeGreaterThanOrEqual(400);
      }
      expect((await send(second, first.server.authority, headers)).body).toBe('{"error":"wrong_host"}');
      expect((await send(first, first.server.authority, headers)).status).toBe(200);
    });

    it('both without hosts, when the caller knows which target is where', async () => {
      const [first, second] = targets;
      const { deviceId, publicKey } = first.device.identity;
      const known = {
        deviceId,
        publicKey,
        friendlyName: 'first',
        role: 'target' as const,
        hosts: [first.server.authority],
      };
      await caller.trust.update((list) => addDevice(list, known, 0));
      const headers = await capture(`${first.server.origin}/orders`, { format });
      expect(headers['authmesh-target']).toBe(deviceId);
      expect((await send(second, first.server.authority, headers)).status).toBe(421);
      expect((await send(second, second.server.authority, headers)).status).toBe(401);
      expect(lastCode(second)).toBe('wrong_target');
      expect((await send(first, first.server.authority, headers)).status).toBe(200);
    });

    it('both with hosts', async () => {
      const [first, second] = targets;
      await first.device.trust.update((list) => setHosts(list, ['a.example']));
      await second.device.trust.update((list) => setHosts(list, ['b.example']));
      await start(first);
      await start(second);
      const headers = await capture('http://a.example/orders', { format });
      expect((await send(second, 'a.example', headers)).status).toBe(421);
      expect(lastCode(second)).toBe('wrong_host');
      expect((await send(second, 'b.example', headers)).status).toBe(401);
      expect(lastCode(second)).toBe('invalid_signature');
      expect((await send(first, 'a.example', headers)).status).toBe(200);
    });

    it('with a forwarded host that nobody trusts', async () => {
      const [first, second] = targets;
      await start(first, { hosts: ['a.example'] });
      await start(second, { hosts: ['b.example'] });
      const headers = await capture('http://a.example/orders', { format });
      expect((await send(second, 'b.example', { ...headers, 'X-Forwarded-Host': 'a.example' })).status).toBe(
        401,
      );
      expect(lastCode(second)).toBe('invalid_signature');
    });

    it('with a trusted forwarded host, which is then checked like a Host header', async () => {
      const [first, second] = targets;
      await start(first, { hosts: ['a.example'] });
      for (const [options, trustProxy] of [
        [{ hosts: ['b.example'], trustForwardedHost: true }, false],
        [{ hosts: ['b.example'] }, true],
      ] as const) {
        await start(second, options, trustProxy);
        const headers = await capture('http://a.example/orders', { format });
        for (const forwarded of ['a.example', 'a.example, b.example']) {
          expect(
            (await send(second, 'b.example', { ...headers, 'X-Forwarded-Host': forwarded })).status,
          ).toBe(421);
          expect(lastCode(second)).toBe('wrong_host');
        }
        expect(
          (await send(second, 'a.example', { ...headers, 'X-Forwarded-Host': 'b.example' })).status,
        ).toBe(401);
      }
      await start(first, { hosts: ['a.example'], trustForwardedHost: true });
      const headers = await capture('http://a.example/orders', { format });
      expect((await send(first, 'inner:3000', { ...headers, 'X-Forwarded-Host': 'a.example' })).status).toBe(
        200,
      );
    });
  },
);
