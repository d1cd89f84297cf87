import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type DeviceIdentity, openDevice } from '@authmesh/sdk/admin';
import express from 'express';
import { createStorage } from 'unstorage';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '../src/process/log';
import { callsOf } from './support/calls-of';
import { listen } from './support/listen';
import { head, RawClient } from './support/raw-http';

let root: string;
let warned: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(async () => {
  warned.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const lines = () => callsOf(warned).map(([line]: unknown[]) => String(line));

describe('verify()', () => {
  it('says immediately, and once, that there is no identity', () => {
    const amesh = createAmesh({ dir: root, env: {} });
    amesh.verify();
    amesh.verify();
    expect(lines()).toEqual([expect.stringContaining(`There is no identity in ${root}. Run: amesh init`)]);
  });

  it('says that the token is empty, if that is why there is no identity', () => {
    createAmesh({ dir: root, env: { AMESH_BOOTSTRAP_TOKEN: '' } }).verify();
    expect(lines()).toEqual([
      expect.stringContaining(`There is no identity in ${root}, and AMESH_BOOTSTRAP_TOKEN is empty. Run: `),
    ]);
  });

  it.each(['', ' '])('a caller says that its token is empty: "%s"', async (token) => {
    const amesh = createAmesh({ dir: root, env: { AMESH_BOOTSTRAP_TOKEN: token } });
    for (const calling of [amesh.fetch('http://localhost:1/'), amesh.identity()]) {
      await expect(calling).rejects.toMatchObject({
        code: 'no_identity',
        detail: `There is no amesh identity in ${root}, and AMESH_BOOTSTRAP_TOKEN is empty.`,
        fix: 'Set it to the whole token, or run: amesh init --name NAME',
      });
    }
  });

  it('mounted without its parentheses says so', async () => {
    const app = express();
    app.use(createAmesh({ dir: root, env: {} }).verify as never);
    app.use(
      ((error, _req, res, _next) => void res.status(500).end(error.message)) as express.ErrorRequestHandler,
    );
    const server = await listen(app);
    const response = await fetch(server.origin);
    expect(await response.text()).toBe(
      'verify() was given a request. Call it when you mount it: amesh.verify().',
    );
    await server.close();
  });

  it('refuses an onRefusal that is not a function', () => {
    const onRefusal = 'log' as unknown as () => void;
    expect(() => createAmesh({ dir: root, env: {} }).verify({ onRefusal })).toThrow(
      'onRefusal must be a function.',
    );
    expect(() => createAmesh({ dir: root, env: {}, onRefusal })).toThrow('onRefusal must be a function.');
  });

  it('names AMESH_HOSTS if it is wrong', () => {
    const amesh = createAmesh({ dir: root, env: { AMESH_HOSTS: 'http://x' } });
    expect(() => amesh.verify()).toThrow(/^AMESH_HOSTS is wrong: "http:\/\/x" is not a host/);
  });

  it('names the folder whose list does not know a device', async () => {
    const [server, caller] = [join(root, 'server'), join(root, 'caller')];
    await createIdentity(server, {}, { friendlyName: 'server' });
    await createIdentity(caller, {}, { friendlyName: 'caller' });
    for (const [options, shown] of [
      [{ dir: server, env: { AUTH_MESH_DIR: caller } }, `folder ${server}`],
      [{ env: { AUTH_MESH_DIR: server } }, `AUTH_MESH_DIR ${server}`],
    ] as const) {
      const verify = createAmesh(options).verify();
      const target = await listen((req, res) => verify(req, res, () => void res.end()));
      expect((await createAmesh({ dir: caller, env: {} }).fetch(target.origin)).status).toBe(401);
      expect(lines().at(-1)).toContain(` (${shown}) [`);
      await target.close();
    }
  });

  it('names its folder if a caller means another device', async () => {
    const dirs = ['one', 'two', 'caller'].map((name) => join(root, name)) as [string, string, string];
    const [one] = await Promise.all(dirs.map((dir) => createIdentity(dir, {}, { friendlyName: 'x' })));
    // Started with another folder than the one that the caller was paired with.
    const verify = createAmesh({ env: { AUTH_MESH_DIR: dirs[1] } }).verify();
    const target = await listen((req, res) => verify(req, res, () => void res.end()));
    const { trust } = await openDevice(dirs[2], {});
    const known = { ...(one as DeviceIdentity), role: 'target' as const, hosts: [target.authority] };
    await trust.update((list) => addDevice(list, known, 0));
    const call = createAmesh({ dir: dirs[2], env: {} }).fetch(target.origin);
    await expect(call).rejects.toMatchObject({ code: 'answer_unproven', claims: 'unauthorized' });
    expect(lines().at(-1)).toContain(
      `: amesh list. This server uses AUTH_MESH_DIR ${dirs[1]}: with another AUTH_MESH_DIR it is another device. [`,
    );
    await target.close();
  });

  it('says where a list is missing, and the usual cause', async () => {
    const [dir, empty] = [join(root, 'server'), join(root, 'empty')];
    const { deviceId, publicKey } = await createIdentity(dir, {}, { friendlyName: 'server' });
    await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
    await rm(join(dir, 'allow_list.json'));
    const caller = createAmesh({ dir: join(root, 'caller'), env: {} });
    const env = { AMESH_OWNER_KEY: publicKey };
    const folder =
      'There is no allow_list.json in the folder. If the list is in a store, set AMESH_STORE_URL.';
    const store = `The store has no allow list for ${deviceId}. Check AMESH_STORE_URL, and AMESH_OWNER_KEY if`;
    for (const [options, cause, place] of [
      [{ dir, env: {} }, folder, `folder ${dir}`],
      [{ dir: empty, env }, folder, 'where the identity is'],
      [{ dir, env: {}, storage: createStorage() }, store, `folder ${dir}`],
      [{ dir: empty, env, storage: createStorage() }, store, 'where the identity is'],
    ] as const) {
      const verify = createAmesh(options).verify();
      const target = await listen((req, res) => verify(req, res, () => void res.end()));
      // A machine with much else to do may not have read the list in time.
      const call = async () => (await caller.fetch(target.origin)).status;
      await expect.poll(call).not.toBe(503);
      expect([await call(), lines().at(-1)]).toEqual([
        500,
        expect.stringContaining(`allow_list_integrity_failure: ${cause}`),
      ]);
      expect(lines().at(-1)).toContain(` (${place}) [`);
      await target.close();
    }
  });

  it('does not tell an instance with only the public key to make another identity', async () => {
    const dir = join(root, 'nothing');
    const owner = await createIdentity(join(root, 'owner'), {}, { friendlyName: 'owner' });
    const instance = createAmesh({ dir, env: { AMESH_OWNER_KEY: owner.publicKey } });
    for (const failing of [instance.fetch('http://127.0.0.1:1/'), instance.identity()]) {
      await expect(failing).rejects.toMatchObject({
        code: 'no_identity',
        message: `There is no private key in ${dir}. With AMESH_OWNER_KEY alone, this instance can verify requests but not sign them. To sign requests, give it the folder of an identity (AUTH_MESH_DIR). See docs/production.md.`,
      });
    }
  });

  it('prints a query only with DEBUG=amesh', async () => {
    for (const [DEBUG, shown] of [
      [undefined, '/a?… (12 characters)'],
      ['amesh', '/a?token=SECRET'],
    ] as const) {
      const verify = createAmesh({ dir: root, env: { DEBUG } }).verify();
      const target = await listen((req, res) => verify(req, res, () => void res.end()));
      await fetch(`${target.origin}/a?token=SECRET`);
      expect(lines().at(-1)).toContain(shown);
      expect(lines().at(-1)?.includes('SECRET')).toBe(DEBUG === 'amesh');
      await target.close();
    }
  });
});

describe('the log', () => {
  it('cannot be filled by a stranger: it has the first refusal of a code, then one each 10 s', async () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(1_764_000_000_000);
    const written: string[] = [];
    const log = createLog({}, null, (line) => void written.push(line));
    const request = { method: 'GET', authority: 'a', target: '/' };
    const refuse = (code: 'missing_header' | 'wrong_host') =>
      log.refusal({ code, status: 401, detail: code, fix: '', request });
    for (let i = 0; i < 1000; i++) refuse('missing_header');
    refuse('wrong_host');
    now.mockReturnValue(1_764_000_009_999);
    refuse('missing_header');
    expect(written.map((line) => line.split(' ')[3])).toEqual(['missing_header:', 'wrong_host:']);
    now.mockReturnValue(1_764_000_010_000);
    refuse('missing_header');
    now.mockRestore();
    expect(written).toHaveLength(3);
    expect(written[2]).toMatch(/ \(1000 more like it since\)$/);
  });

  it('says how many lines it has held back when no other refusal follows', () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
    try {
      const written: string[] = [];
      const log = createLog({}, null, (line) => void written.push(line));
      const refuse = (target: string) =>
        log.refusal({
          ...{ code: 'unknown_device', status: 401, detail: '', fix: '' },
          request: { method: 'GET', authority: 'a', target },
        });
      refuse('/first');
      vi.advanceTimersByTime(4000);
      for (let i = 1; i <= 13; i++) refuse(`/${i}`);
      vi.advanceTimersByTime(5999);
      expect(written).toHaveLength(1);
      vi.advanceTimersByTime(1);
      expect(written).toHaveLength(2);
      expect(written[1]).toMatch(/\[GET a\/13\] \(12 more like it since\)$/);
      vi.advanceTimersByTime(60_000);
      expect(written).toHaveLength(2);
      refuse('/later');
      expect(written[2]).toMatch(/\/later\]$/);
    } finally {
      vi.useRealTimers();
    }
  });

  it.each(['unknown_device', 'role_not_allowed', 'device_expired', 'scope_missing', 'wrong_host'] as const)(
    'says in which folder the command that repairs %s has to run',
    (code) => {
      const written: string[] = [];
      const log = createLog({}, 'folder /srv/amesh', (line) => void written.push(line));
      const request = { method: 'GET', authority: 'a', target: '/' };
      log.refusal({ code, status: 403, detail: 'Why.', fix: 'amesh allow x', request });
      expect(written).toEqual([
        `amesh: refused 403 ${code}: Why. amesh allow x (folder /srv/amesh) [GET a/]`,
      ]);
    },
  );

  it('remembers the last 1,000 lines and topics that it said: strangers choose part of some of them', () => {
    const written: string[] = [];
    const log = createLog({}, null, (line) => void written.push(line));
    const own = (line: string) => `${line} of this test`;
    log.once(own('first'));
    log.once(own('repeated'));
    log.seldom('first', 'a');
    for (let i = 0; i < 999; i++) {
      log.once(own(`line ${i}`));
      log.once(own('repeated'));
      log.seldom(`topic ${i}`, 'b');
    }
    log.seldom('first', 'a'); // 999 others since
    expect(written).toHaveLength(2001);
    log.once(own('first')); // 1,000 others since, of which one was repeated
    log.once(own('repeated'));
    log.seldom('topic 999', 'b');
    log.seldom('first', 'a');
    expect(written.slice(2001)).toEqual(['amesh: first of this test', 'amesh: b', 'amesh: a']);
  });

  it('does not keep a process alive for a count', () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    const log = createLog({}, null, () => {});
    const request = { method: 'GET', authority: 'a', target: '/' };
    for (let i = 0; i < 3; i++)
      log.refusal({ code: 'wrong_host', status: 421, detail: '', fix: '', request });
    expect(timers.mock.results.map(({ value }) => value.hasRef())).toEqual([false]);
    for (const { value } of timers.mock.results) clearTimeout(value);
    timers.mockRestore();
  });

  it('does not become silent when the clock is set back', () => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(1_764_003_600_000);
    const written: string[] = [];
    const log = createLog({}, null, (line) => void written.push(line));
    const request = { method: 'GET', authority: 'a', target: '/' };
    const refuse = () =>
      log.refusal({ code: 'nonce_store_unavailable', status: 503, detail: '', fix: '', request });
    refuse();
    now.mockReturnValue(1_764_000_000_000);
    refuse();
    now.mockRestore();
    expect(written).toHaveLength(2);
  });

  it('has no control characters for a terminal, whatever a stranger sends', async () => {
    const verify = createAmesh({ dir: root, env: { DEBUG: 'amesh' } }).verify();
    const target = await listen((req, res) => verify(req, res, () => void res.end()));
    const client = await RawClient.connect(target.port);
    // What begins a control sequence in eight bits; those in seven no parser lets through.
    client.write(head('GET /a HTTP/1.1', ['Host: \x9b2J\x9d0;owned\x9c', 'Authorization: AuthMesh \x9b31m']));
    expect((await client.response()).status).toBe(400);
    client.destroy();
    const line = lines().at(-1);
    expect(line).toContain('\\u009b2J\\u009d0;owned\\u009c');
    expect(line).toMatch(/^[\x20-\x7e]+$/);
    await target.close();
  });
});

describe('a passphrase that the environment gives for a key with a generated one', () => {
  it('is named as the reason', async () => {
    await createIdentity(root, {}, { friendlyName: 'server' });
    const amesh = createAmesh({ dir: root, env: { AUTH_MESH_PASSPHRASE: 'left over' } });
    await expect(amesh.identity()).rejects.toMatchObject({
      code: 'passphrase_wrong',
      message: expect.stringContaining('was generated and is in .passphrase'),
      fix: 'Unset AUTH_MESH_PASSPHRASE and AMESH_PASSPHRASE_FILE, or remove the credential.',
    });
  });
});
