import { execFileSync } from 'node:child_process';
import { chmod, readdir, readFile, rm, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { addDevice, openDevice, setHosts } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changeDevices, randomId, withDevices } from '../support/list-document';
import { listen } from '../support/listen';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { useRelay } from '../support/use-relay';
import { type Machine, type RunOptions, useMachines } from './amesh';
import { examineWith, type Finding, trust } from './examine';
import { fingerprintOf } from './fingerprint';

const createMachine = useMachines();
const relay = useRelay();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

const env = (more: RunOptions['env'] = {}) => ({
  AMESH_RELAY_URL: relay.url,
  ...more,
});

const examine = (machine: Machine, more: RunOptions['env'] = {}, ...args: string[]) =>
  examineWith(machine, env(more), ...args);

const statesOf = (all: readonly Finding[]) =>
  Object.fromEntries(
    all.filter(({ state }) => state !== 'ok' && state !== 'skipped').map((f) => [f.check, f.state]),
  );

async function serve(handler: RequestListener) {
  const server = await listen(createServer(handler));
  endings.push(() => server.close());
  return server;
}

describe('a machine with the AMESH_OWNER_KEY of another device', () => {
  it('is told which list a server uses, and that it is not the one in the folder', async () => {
    const [reader, owner] = [await createMachine('reader'), await createMachine('owner')];
    const { deviceId, publicKey } = JSON.parse(await readFile(join(owner.dir, 'identity.json'), 'utf8'));
    const { all } = await examine(reader, { AMESH_OWNER_KEY: publicKey });
    const [own, others] = all.filter(({ check }) => check === 'list');
    expect(own?.state).toBe('ok');
    expect(others).toMatchObject({
      state: 'failed',
      message: expect.stringContaining(`uses the list of ${deviceId}. `),
      fix: expect.stringContaining('unset AMESH_OWNER_KEY'),
    });
    const alone = await examine(owner, { AMESH_OWNER_KEY: publicKey });
    expect(alone.all.filter(({ check }) => check === 'list')).toHaveLength(1);
  });
});

describe('a machine without faults', () => {
  it('gets a line for each check, and stays unchanged', async () => {
    const machine = await createMachine('prod-api');
    const { deviceId } = JSON.parse(await readFile(join(machine.dir, 'identity.json'), 'utf8'));
    const before = await fingerprintOf(machine.dir);
    const ran = await machine.amesh(['doctor'], { env: env() });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toBe('✓ Nothing is broken.\n');
    const lines = ran.stdout.split('\n');
    expect(lines[0]).toMatch(
      /^✓ versions {2}@authmesh\/cli \S+, @authmesh\/sdk \S+, Node \d+\.\d+\.\d+ on \w+ \w+\.$/,
    );
    expect(lines.slice(1)).toEqual([
      `✓ folder    ${machine.dir} (0700).`,
      `✓ identity  "prod-api" (${deviceId}).`,
      "✓ key       Encrypted file; its passphrase was generated and is stored next to it. Anybody who can read this account's files can copy and use the key.",
      '✓ list      Sealed, revision 1: 0 may call this machine, and it may call 0.',
      '✓ seen      Revision 1 is the newest seen here.',
      '✓ hosts     localhost only.',
      '- store     AMESH_STORE_URL is not set: the list is in the folder.',
      '- nonces    REDIS_URL is not set: nonces are kept in memory, which detects replays within one process only.',
      '- proxy     HTTPS_PROXY, HTTP_PROXY and ALL_PROXY are not set: all connections are direct.',
      `✓ relay     ${relay.url} accepts connections (AMESH_RELAY_URL).`,
      `✓ clock     The same as the clock of 127.0.0.1:${relay.port}.`,
      '',
    ]);
    expect(await fingerprintOf(machine.dir)).toBe(before);
  });

  it('is reported to programs with --json', async () => {
    const { code, json, all, stderr } = await examine(await createMachine('prod-api'));
    expect([code, stderr]).toEqual([0, '']);
    expect(Object.keys(json)).toEqual(['ok', 'checks']);
    expect(json.ok).toBe(true);
    for (const finding of all) expect(Object.keys(finding)).toEqual(['check', 'state', 'message', 'fix']);
  });

  it('does not record that a list was seen', async () => {
    const machine = await createMachine('prod-api');
    await unlink(join(machine.dir, 'seen.json'));
    const before = await fingerprintOf(machine.dir);
    const { code, of } = await examine(machine);
    expect(code).toBe(0);
    expect(of.seen).toMatchObject({ state: 'skipped', message: 'No revision was seen here yet.' });
    expect(await fingerprintOf(machine.dir)).toBe(before);
  });
});

describe('the identity', () => {
  it('is not there', async () => {
    const machine = await createMachine();
    const { code, of, json } = await examine(machine);
    expect(code).toBe(10);
    const fix = machine.here('amesh init --name NAME');
    expect(of.identity).toEqual({
      check: 'identity',
      state: 'failed',
      message: `There is none in ${machine.dir}.`,
      fix,
    });
    expect(json).toMatchObject({
      ok: false,
      error: { code: 'checks_failed', message: 'These checks failed: identity.', hint: fix },
    });
    await expect(stat(machine.dir)).rejects.toThrow('ENOENT');
    const ran = await machine.amesh(['doctor'], { env: env() });
    expect(ran.stderr).toBe('✗ These checks failed: identity. No changes were made.\n');
    expect(ran.stdout).toContain(`✗ identity  There is none in ${machine.dir}.\n            Fix: ${fix}\n`);
  });

  it('will come with a token, which is not printed', async () => {
    const { code, of, stdout } = await examine(await createMachine(), { AMESH_BOOTSTRAP_TOKEN: 'eyJSECRET' });
    expect(code).toBe(0);
    expect(of.identity?.state).toBe('warning');
    expect(stdout).not.toContain('eyJSECRET');
  });

  it('is damaged', async () => {
    const machine = await createMachine('prod-api');
    await writeFile(join(machine.dir, 'identity.json'), '{');
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.identity).toMatchObject({
      state: 'failed',
      message: 'identity.json is not an identity that this version of amesh understands.',
      fix: `Restore the right identity.json. If there is no backup, create a new identity, and pair again: ${machine.here('amesh init --name NAME --force')}`,
    });
    expect([of.key?.state, of.list?.state]).toEqual(['skipped', 'skipped']);
  });
});

describe('the key', () => {
  it('is not there', async () => {
    const machine = await createMachine('prod-api');
    await rm(join(machine.dir, 'keys'), { recursive: true });
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.key?.state).toBe('failed');
    expect(of.key?.message).toMatch(/^The key file \S+ is missing\.$/);
    expect(of.list?.message).toBe('Not checked: that needs the key that sealed it.');
  });

  it('does not open with the passphrase, which is not printed', async () => {
    const machine = await createMachine('prod-api');
    const { code, of, stdout } = await examine(machine, { AUTH_MESH_PASSPHRASE: 'SECRET horse' });
    expect(code).toBe(1);
    expect(of.key).toMatchObject({
      state: 'failed',
      fix: 'Unset AUTH_MESH_PASSPHRASE and AMESH_PASSPHRASE_FILE, or remove the credential.',
    });
    expect(stdout).not.toContain('SECRET');
    expect(stdout).not.toContain((await readFile(join(machine.dir, '.passphrase'), 'utf8')).trim());
  });

  it('stays closed if its passphrase comes through a pipe', async () => {
    const machine = await createMachine('prod-api');
    const pipe = join(machine.dir, '..', 'pipe');
    execFileSync('mkfifo', [pipe]);
    const { code, of } = await examine(machine, { AMESH_PASSPHRASE_FILE: pipe });
    expect(code).toBe(0);
    expect(of.key).toMatchObject({
      state: 'warning',
      message: 'Not opened: AMESH_PASSPHRASE_FILE is a pipe, which can be read only once.',
    });
  });

  it('stays closed if its PIN comes through a pipe, and is opened if that pipe is for another key', async () => {
    const machine = await createMachine('prod-api');
    const pipe = join(machine.dir, '..', 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect((await examine(machine, { AMESH_PIN_FILE: pipe })).of.key).toMatchObject({ state: 'ok' });
    const identity = JSON.parse(await readFile(join(machine.dir, 'identity.json'), 'utf8'));
    identity.key = { backend: 'tpm2', ref: 'keys/x.tss2.pem' };
    await writeFile(join(machine.dir, 'identity.json'), JSON.stringify(identity));
    expect((await examine(machine, { AMESH_PIN_FILE: pipe })).of.key).toMatchObject({
      state: 'warning',
      message: 'Not opened: AMESH_PIN_FILE is a pipe, which can be read only once.',
    });
    expect((await examine(machine, { AMESH_PASSPHRASE_FILE: pipe })).of.key).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('keys/x.tss2.pem is missing'),
    });
  });
});

describe('files that others get at', () => {
  it('are reported with the commands that close them', async () => {
    const machine = await createMachine('prod-api');
    const [key = ''] = await readdir(join(machine.dir, 'keys'));
    await chmod(machine.dir, 0o777);
    await chmod(join(machine.dir, '.passphrase'), 0o444);
    await chmod(join(machine.dir, 'keys', key), 0o640);
    await chmod(join(machine.dir, 'allow_list.json'), 0o666);
    const { code, all, json } = await examine(machine);
    expect([code, json.ok]).toEqual([0, true]);
    const folder = all.filter(({ check }) => check === 'folder');
    expect(folder.map(({ state, message, fix }) => [state, message, fix])).toEqual([
      ['warning', `${machine.dir} can be written by everybody (0777).`, `chmod 700 ${machine.dir}`],
      [
        'warning',
        `${machine.dir}/.passphrase can be accessed by others (0444).`,
        `chmod 400 ${machine.dir}/.passphrase`,
      ],
      [
        'warning',
        `${machine.dir}/keys/${key} can be accessed by others (0640).`,
        `chmod 600 ${machine.dir}/keys/${key}`,
      ],
      [
        'warning',
        `${machine.dir}/allow_list.json can be written by others (0666).`,
        `chmod 600 ${machine.dir}/allow_list.json`,
      ],
    ]);
    for (const { fix } of folder) execFileSync('sh', ['-c', fix as string]);
    expect((await examine(machine)).of.folder).toMatchObject({
      state: 'ok',
      message: `${machine.dir} (0700).`,
    });
  });

  it('including a folder that is a file', async () => {
    const machine = await createMachine();
    await writeFile(machine.dir, '');
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.folder).toMatchObject({ state: 'failed', message: `${machine.dir} is not a folder.` });
  });
});

describe('the list', () => {
  it('has a broken seal', async () => {
    const machine = await createMachine('prod-api');
    const path = join(machine.dir, 'allow_list.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"hosts":[]', '"hosts":["evil.example"]'));
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.list).toMatchObject({
      state: 'failed',
      message: 'The seal of the allow list is broken.',
      fix: `Restore the right allow_list.json, or start an empty list with: ${machine.here('amesh trust reset')}`,
    });
    expect(of.seen?.state).toBe('skipped');
  });

  it('lacks a page', async () => {
    const machine = await createMachine('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    await withDevices(trust, Array.from({ length: 200 }, randomId));
    const [[name = ''] = []] = [...(await trust.open()).pages];
    await rm(join(machine.dir, 'list', name));
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.list).toMatchObject({
      state: 'failed',
      message: `Sealed. A part of the list cannot be read (${name}), so its devices are not counted. A page of the allow list is missing.`,
      fix: 'Restore the pages of the list from a backup.',
    });
  });

  it('is an older copy', async () => {
    const machine = await createMachine('prod-api');
    const path = join(machine.dir, 'allow_list.json');
    const older = await readFile(path);
    await (await openDevice(machine.dir, {})).trust.update((list) => setHosts(list, ['a.example']));
    await writeFile(path, older);
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.list?.message).toBe(
      'The allow list is an older copy: revision 1, but this machine has seen 2.',
    );
  });

  it('is next to a damaged record', async () => {
    const machine = await createMachine('prod-api');
    await writeFile(join(machine.dir, 'seen.json'), '[');
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.list?.message).toBe('seen.json, which remembers the newest allow list, is damaged.');
  });

  it('is a pipe, or a device', async () => {
    for (const what of ['pipe', 'device']) {
      const machine = await createMachine('prod-api');
      const path = join(machine.dir, 'allow_list.json');
      await unlink(path);
      if (what === 'pipe') execFileSync('mkfifo', [path]);
      else await symlink('/dev/zero', path);
      const { code, of } = await examine(machine);
      expect(code).toBe(1);
      expect(of.list).toMatchObject({ state: 'failed', message: `${path} is not a regular file.` });
    }
  });

  it('has callers whose time is over, which do not count', async () => {
    const machine = await createMachine('prod-api');
    const callers = ['here', 'ended', 'left'].map(async (name) => (await createMachine()).init(name));
    for (const caller of await Promise.all(callers)) await trust(machine, caller, 'controller');
    const [past, later] = [Math.floor(Date.now() / 1000) - 60, Math.floor(Date.now() / 1000) + 8_640_000];
    const { trust: list } = await openDevice(machine.dir, {});
    await changeDevices(list, (device) => {
      if (device.friendlyName === 'ended') return { ...device, expiresAt: past };
      const lease = { grant: randomId(), expiresAt: past, endsAt: later };
      return device.friendlyName === 'left' ? { ...device, lease, expiresAt: later } : device;
    });
    const { of } = await examine(machine);
    expect((await machine.allowList()).devices).toHaveLength(3);
    expect(of.list?.message).toContain(': 1 may call this machine, and it may call 0.');
    expect(of.hosts?.message).toContain('but 1 machine may call this one');
    const { stderr } = await machine.amesh(['config', 'hosts', 'a.example']);
    expect(stderr).toContain('also for the machine that may call this one.');
  });

  it('has callers, but no host except localhost', async () => {
    const [machine, caller] = [await createMachine('prod-api'), await createMachine()];
    await trust(machine, await caller.init('laptop'), 'controller');
    const { code, of } = await examine(machine);
    expect(code).toBe(0);
    expect(of.list?.message).toBe('Sealed, revision 2: 1 may call this machine, and it may call 0.');
    expect(of.hosts).toMatchObject({
      state: 'warning',
      message: 'localhost only, but 1 machine may call this one. Do they use another name?',
      fix: machine.here('amesh config hosts --add api.example.com'),
    });
    const named = await examine(machine, { AMESH_HOSTS: 'a.example' });
    expect(named.of.hosts).toMatchObject({ state: 'ok', message: 'a.example (AMESH_HOSTS).' });
    const wrong = await machine.amesh(['doctor', '--json'], { env: env({ AMESH_HOSTS: 'a..example' }) });
    expect(wrong.code).toBe(1);
    expect(wrong.stdout).toContain('AMESH_HOSTS is wrong, so a server would not start');
  });
});

describe('the relay', () => {
  it('is not there', async () => {
    const { code, of } = await examine(await createMachine('a'), { AMESH_RELAY_URL: 'ws://127.0.0.1:1' });
    expect(code).toBe(3);
    expect(of.relay).toEqual({
      check: 'relay',
      state: 'failed',
      message: 'The relay at ws://127.0.0.1:1/ws did not respond (ECONNREFUSED). Your devices are fine.',
      fix: 'export AMESH_RELAY_URL=wss://relay.example.com/ws',
    });
    expect(of.clock).toMatchObject({ state: 'skipped', message: 'There is no clock to compare it with.' });
  });

  it('is not there, which is all right for a paired machine', async () => {
    for (const role of ['target', 'controller'] as const) {
      const machine = await createMachine('a');
      const other = await (await createMachine()).init('b');
      await trust(machine, other, role, role === 'target' ? ['b.example'] : []);
      await machine.amesh(['config', 'hosts', 'a.example', '--yes']);
      const ran = await machine.amesh(['doctor'], { env: env({ AMESH_RELAY_URL: 'ws://127.0.0.1:1' }) });
      expect(ran.stdout).toContain(
        '- relay     The relay at ws://127.0.0.1:1/ws did not respond (ECONNREFUSED). Your devices are fine. Only pairing needs it, and this machine is paired.\n- clock',
      );
      expect(ran.stdout).not.toContain('Fix: ');
      expect([ran.code, ran.stderr]).toEqual([0, '✓ Nothing is broken.\n']);
    }
  });

  it('has another path', async () => {
    const machine = await createMachine('a');
    await machine.amesh(['config', 'relay', relay.url.replace(/ws$/, 'pair')]);
    const { code, of } = await examine(machine, { AMESH_RELAY_URL: '' });
    expect(code).toBe(3);
    expect(of.relay?.fix).toBe(machine.here(`amesh config relay ${relay.url}`));
  });

  it('has a URL that is not the URL of a relay', async () => {
    const { code, of } = await examine(await createMachine('a'), { AMESH_RELAY_URL: 'https://r.example' });
    expect(code).toBe(1);
    expect(of.relay?.message).toBe(
      'AMESH_RELAY_URL: The URL of a relay must begin with wss:// or ws://. Perhaps: wss://r.example/ws',
    );
  });

  it('accepts the connection and says nothing: it gets 4 s', async () => {
    const server = createServer();
    server.on('upgrade', (_, socket) => endings.push(() => socket.destroy()));
    const deaf = await listen(server);
    endings.push(() => deaf.close());
    const startedAt = performance.now();
    const { code, of } = await examine(await createMachine('a'), {
      AMESH_RELAY_URL: `ws://${deaf.authority}`,
    });
    expect(code).toBe(3);
    const message = `The relay at ws://${deaf.authority}/ws did not respond within 4 s. Your devices are fine.`;
    expect(of.relay).toMatchObject({ state: 'failed', message });
    expect(performance.now() - startedAt).toBeLessThan(20_000);
  });
});

describe('the clock', () => {
  it.each([
    [0, 'ok', /^The same as the clock of /],
    [
      20,
      'warning',
      /^\d+ s behind the clock of .* The clocks of instances that share nonces may differ by at most 10 s\.$/,
    ],
    [
      -120,
      'failed',
      /^\d+ s ahead of the clock of .* Servers refuse requests if the clocks differ by more than 30 s\.$/,
    ],
  ] as const)('of a server differs by %i s', async (seconds, state, message) => {
    const server = await serve((_, response) => {
      response.setHeader('date', new Date(Date.now() + seconds * 1000).toUTCString()).end();
    });
    const examined = await examine(await createMachine('a'), {}, `${server.origin}/`);
    expect(examined.of.clock).toMatchObject({ state, message: expect.stringMatching(message) });
    expect(examined.code).toBe(state === 'failed' ? 1 : 0);
  });

  it('is older than what was written here', async () => {
    const machine = await createMachine('a');
    const path = join(machine.dir, 'identity.json');
    const identity = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...identity, createdAt: identity.createdAt + 86_400 }));
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.clock?.message).toMatch(/^It is behind: something was written here at \d{4}-/);
    expect(of.clock?.fix).toBe('sudo timedatectl set-ntp true');
  });
});

describe('a clock that was set back under a running server', () => {
  it('is recognised by when a device last called, and the ways out are named', async () => {
    const [machine, peer] = [await createMachine('a'), await createMachine('b')];
    const { trust } = await openDevice(machine.dir, {});
    const other = await openDevice(peer.dir, {});
    await trust.update((list) => addDevice(list, { ...other.identity, role: 'controller', hosts: [] }, 0));
    const ahead = Math.floor(Date.now() / 1000) + 3600;
    await trust.lastSeen.add(new Map([[other.identity.deviceId, ahead]]), await trust.read());
    const { code, of } = await examine(machine);
    expect(code).toBe(1);
    expect(of.clock?.message).toMatch(
      /^It is behind: a device called here at [\d-]+ [\d:]+ UTC\. If it was set back while a server ran, .* or until it is restarted; its log says when\.$/,
    );
  });
});

describeWithRedis('Redis', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  const cli = (...args: string[]) =>
    execFileSync('redis-cli', ['-p', String(redis.port), ...args], { encoding: 'utf8' }).trim();

  it('stores the nonces and the list, and nothing is written to it', async () => {
    const machine = await createMachine();
    const both = { REDIS_URL: redis.url, AMESH_STORE_URL: redis.url };
    await machine.amesh(['init', '--name', 'prod-api'], { env: { AMESH_STORE_URL: redis.url } });
    const keys = cli('KEYS', '*');
    const { code, of } = await examine(machine, both);
    expect(statesOf(Object.values(of))).toEqual({});
    expect(code).toBe(0);
    expect(of.store?.message).toMatch(/^The Redis of AMESH_STORE_URL responds within \d+ ms\.$/);
    expect(of.nonces?.message).toMatch(/^The Redis of REDIS_URL responds within \d+ ms\.$/);
    expect(of.list?.message).toBe(
      'Sealed, in the store of AMESH_STORE_URL, revision 1: 0 may call this machine, and it may call 0.',
    );
    expect(cli('KEYS', '*')).toBe(keys);
    const { publicKey } = JSON.parse(await readFile(join(machine.dir, 'identity.json'), 'utf8'));
    const edge = await examine(await createMachine(), {
      AMESH_STORE_URL: redis.url,
      AMESH_OWNER_KEY: publicKey,
    });
    expect(edge.code).toBe(0);
    expect(edge.of.identity?.state).toBe('skipped');
    expect(edge.of.list?.message).toMatch(/^Sealed, /);
  });

  it('may discard nonces', async () => {
    cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const { code, of } = await examine(await createMachine('a'), { REDIS_URL: redis.url });
    cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(code).toBe(1);
    expect(of.nonces).toMatchObject({
      state: 'failed',
      fix: 'redis-cli CONFIG SET maxmemory-policy noeviction',
    });
  });

  it('is silent, or not there, or not a Redis: the check ends in time and shows no password', async () => {
    const machine = await createMachine('a');
    const withPassword = redis.url.replace('://', '://:SECRET@');
    redis.pause();
    const startedAt = performance.now();
    const silent = await examine(machine, { REDIS_URL: withPassword, AMESH_STORE_URL: withPassword });
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    redis.resume();
    expect(silent.code).toBe(1);
    expect(statesOf(silent.all)).toEqual({ list: 'failed', store: 'failed', nonces: 'failed' });
    const gone = await examine(machine, { REDIS_URL: 'redis://:SECRET@127.0.0.1:1' });
    expect(gone.of.nonces).toMatchObject({
      message: 'The Redis of REDIS_URL does not respond: connect ECONNREFUSED 127.0.0.1:1',
      fix: 'Check that Redis is running, and that the address in REDIS_URL is right.',
    });
    const none = await examine(machine, { AMESH_STORE_URL: 'https://:SECRET@127.0.0.1' });
    expect(none.of.store).toMatchObject({
      state: 'failed',
      message: 'AMESH_STORE_URL is not a Redis URL: it must begin with redis:// or rediss://.',
      fix: 'export AMESH_STORE_URL=redis://localhost:6379',
    });
    for (const { stdout, stderr } of [silent, gone, none]) expect(stdout + stderr).not.toContain('SECRET');
  });
});
