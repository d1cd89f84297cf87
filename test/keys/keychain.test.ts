import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type DeviceIdentity, findBackend, openDevice } from '@authmesh/sdk/admin';
import type { Role } from '@authmesh/sdk/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { withSessionBus } from '../../src/keys/keychain/session-bus';
import { useMachines } from '../cli/amesh';
import { describeWithKeyring, type GnomeKeyring, startGnomeKeyring } from '../support/gnome-keyring';
import { keyBackendContract } from '../support/key-backend-contract';

const backend = findBackend('keychain');
const createMachine = useMachines();
const INIT = ['init', '--name', 'api', '--backend', 'keychain'];

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

/** Types the command that a message ends with, and the password. */
function unlockAsTold(keyring: GnomeKeyring, message: string): void {
  const [, command = ''] = /Without a desktop: (.*)/.exec(message) ?? [];
  expect(command).toContain('gnome-keyring-daemon');
  keyring.run(`{ ${command}; } <<< '${keyring.password}' > /dev/null 2>&1`);
}

describeWithKeyring('with a keychain', () => {
  let keyring: GnomeKeyring;
  const before = process.env.DBUS_SESSION_BUS_ADDRESS;
  beforeAll(async () => {
    keyring = await startGnomeKeyring();
    process.env.DBUS_SESSION_BUS_ADDRESS = keyring.env.DBUS_SESSION_BUS_ADDRESS; // its library reads no other
  });
  afterAll(async () => {
    await keyring?.remove();
    if (before === undefined) delete process.env.DBUS_SESSION_BUS_ADDRESS;
    else process.env.DBUS_SESSION_BUS_ADDRESS = before;
  });

  keyBackendContract(backend, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    return {
      context: { dir, env: {} },
      secrets: [],
      remove: () => rm(dir, { recursive: true, maxRetries: 20 }),
    };
  });

  it('keeps the passphrase in the keychain alone, and the key in a file that only it opens', async () => {
    const { ref } = await backend.create({ dir: root, env: {} });
    const passphrase = keyring.run(`secret-tool lookup service amesh username ${ref}`);
    expect(passphrase).toMatch(/^[\w-]{43}$/);
    const pem = await readFile(join(root, ref), 'utf8');
    expect(pem).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    expect(pem).not.toContain(passphrase);
    await backend.remove(ref, { dir: root, env: {} });
    expect(() => keyring.run(`secret-tool lookup service amesh username ${ref}`)).toThrow();
  });

  it('removes the passphrase again if the key file cannot be written', async () => {
    const count = () =>
      keyring.run('secret-tool search --all service amesh 2>/dev/null || true').split('[/').length;
    const amount = count();
    await symlink('/proc', join(root, 'keys'));
    await expect(backend.create({ dir: root, env: {} })).rejects.toMatchObject({ syscall: 'open' });
    expect(count()).toBe(amount);
  });

  it.each([
    ['another passphrase', 'another passphrase', 'does not open the private key'],
    ['no passphrase', '', 'does not open the private key'],
  ])('refuses a keychain with %s in place of the key', async (_, text, detail) => {
    const { ref } = await backend.create({ dir: root, env: {} });
    keyring.run(`printf %s '${text}' | secret-tool store --label=x service amesh username ${ref}`);
    await expect(backend.open(ref, { dir: root, env: {} })).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:identity_unreadable|key_backend_unavailable)$/),
      detail: expect.stringMatching(new RegExp(`${detail}|cannot be used`)),
    });
  });

  it('refuses an unencrypted key in place of the key file', async () => {
    const { ref } = await backend.create({ dir: root, env: {} });
    await writeFile(join(root, ref), '-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n');
    await expect(backend.open(ref, { dir: root, env: {} })).rejects.toMatchObject({
      code: 'identity_unreadable',
    });
  });

  it('signs the requests of fetch', async () => {
    const [server, caller] = [join(root, 'server'), join(root, 'caller')];
    const target = await createIdentity(server, {}, { friendlyName: 'server', backend: 'keychain' });
    const controller = await createIdentity(caller, {}, { friendlyName: 'caller', backend: 'keychain' });
    const http = createHttpServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    const host = `127.0.0.1:${(http.address() as AddressInfo).port}`;
    const now = Math.floor(Date.now() / 1000);
    const trust = async (dir: string, other: DeviceIdentity, role: Role, hosts: string[]) => {
      const { trust } = await openDevice(dir, {}, null);
      await trust.update((draft) => addDevice(draft, { ...other, role, hosts }, now));
    };
    await trust(server, controller, 'controller', []);
    await trust(caller, target, 'target', [host]);
    const verify = createAmesh({ dir: server, env: {}, hosts: [host] }).verify();
    http.on('request', (request, response) =>
      verify(request as never, response as never, () => response.end('ok')),
    );
    const { fetch } = createAmesh({ dir: caller, env: {} });
    expect((await fetch(`http://${host}/`)).status).toBe(200);
    http.close();
    http.closeAllConnections();
  });

  it('says that the keychain was emptied', async () => {
    const { ref } = await backend.create({ dir: root, env: {} });
    keyring.run(`secret-tool clear service amesh username ${ref}`);
    await expect(backend.open(ref, { dir: root, env: {} })).rejects.toMatchObject({
      code: 'key_lost',
      detail: expect.stringContaining('The keychain of this user has no passphrase'),
      fix: expect.stringContaining('amesh init --name NAME --force'),
    });
  });
});

describeWithKeyring('amesh init --backend keychain', () => {
  let keyring: GnomeKeyring;
  beforeAll(async () => {
    keyring = await startGnomeKeyring();
  });
  afterAll(() => keyring?.remove());

  it('makes a key that works after a restart, once somebody has logged in, and until then says why it does not', async () => {
    const machine = await createMachine();
    const env = keyring.env;
    const made = await machine.amesh(INIT, { env });
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain('opened by the keychain of this user');
    expect((await machine.amesh(['keys'], { env })).stdout).toContain(
      '✓ keychain  (the key of this machine)',
    );

    await keyring.restartLocked();
    const locked = await machine.amesh(['list', '--json'], { env });
    expect(JSON.parse(locked.stdout)).toMatchObject({ error: { code: 'keychain_locked' } });
    expect((await machine.amesh(['keys'], { env })).stdout).toContain('– keychain');
    expect((await machine.amesh([...INIT, '--force'], { env })).code).not.toBe(0);

    unlockAsTold(keyring, (await machine.amesh(['list'], { env })).stderr);
    expect((await machine.amesh(['list'], { env })).code).toBe(0);
  });

  it('does not use the folder of another user as its own', async () => {
    const other = await startGnomeKeyring();
    try {
      const machine = await createMachine();
      await machine.amesh(INIT, { env: keyring.env });
      const refused = await machine.amesh(['list', '--json'], { env: other.env });
      expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'key_lost' } });
    } finally {
      await other.remove();
    }
  });
});

describeWithKeyring('amesh init --backend keychain, if there is no keychain', () => {
  const initWith = async (env: Record<string, string>) => {
    const machine = await createMachine();
    const { code, stderr } = await machine.amesh(INIT, { env: { HOME: root, ...env } });
    expect(code).not.toBe(0);
    return stderr;
  };

  it('says that there is no session bus', async () => {
    const said = await initWith({ DBUS_SESSION_BUS_ADDRESS: '', XDG_RUNTIME_DIR: root });
    expect(said).toContain('✗ There is no session bus: DBUS_SESSION_BUS_ADDRESS is not set.');
    expect(said).toContain('--backend tpm2');
  });

  it('says which session bus this user has', async () => {
    const bus = createServer().listen(join(root, 'bus'));
    try {
      const said = await initWith({ DBUS_SESSION_BUS_ADDRESS: '', XDG_RUNTIME_DIR: root });
      expect(said).toContain(`Set DBUS_SESSION_BUS_ADDRESS=unix:path=${join(root, 'bus')}`);
    } finally {
      bus.close();
    }
  });

  it('says that the session bus is gone', async () => {
    const said = await initWith({ DBUS_SESSION_BUS_ADDRESS: `unix:path=${root}/gone` });
    expect(said).toContain(`✗ The session bus at unix:path=${root}/gone cannot be used: ENOENT.`);
  });

  it('says that no program stores secrets', async () => {
    const keyring = await startGnomeKeyring({ service: 'none' });
    try {
      const said = await initWith(keyring.env);
      expect(said).toContain('✗ No program on the session bus keeps secrets');
      expect(said).toContain('sudo apt-get install gnome-keyring');
    } finally {
      await keyring.remove();
    }
  });

  it('says that there is no keyring "login"', async () => {
    const keyring = await startGnomeKeyring({ service: 'started' });
    try {
      const said = await initWith(keyring.env);
      expect(said).toContain('✗ The Secret Service has no default keyring: there is no collection "login".');
      unlockAsTold(keyring, said);
      const machine = await createMachine();
      expect(await machine.amesh(INIT, { env: keyring.env })).toMatchObject({ code: 0 });
    } finally {
      await keyring.remove();
    }
  });
});

describe('the session bus', () => {
  const answering = async (answer: string | Buffer) => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    });
    await new Promise<void>((done) => server.listen(join(root, 'bus'), done));
    try {
      return await withSessionBus(`unix:path=${join(root, 'bus')}`, async () => 'reached').catch(String);
    } finally {
      server.close();
    }
  };

  it.each([
    ['refuses the user', 'REJECTED EXTERNAL\r\n', 'The session bus responded with REJECTED.'],
    ['closes the connection', '', 'The session bus closed the connection.'],
    ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'The session bus responded with HTTP/1.1.'],
    ['announces 4 GiB', `OK x\r\nl${'\xff'.repeat(20)}`, 'something other than a D-Bus message'],
    ['is big-endian', `OK x\r\nB${'\0'.repeat(20)}`, 'something other than a D-Bus message'],
  ])('is not trusted if it %s', async (_, answer, expected) => {
    expect(await answering(Buffer.from(answer, 'latin1'))).toContain(expected);
  });

  it('needs a Unix socket', async () => {
    await expect(withSessionBus('tcp:host=x,port=1', async () => {})).rejects.toThrow('names no Unix socket');
  });
});

describe('the built package, installed', () => {
  const ROOT = resolve(import.meta.dirname, '../..');
  const SCRIPT = `
    import { findBackend } from '@authmesh/sdk/admin';
    const { available, reason, advice } = await findBackend('keychain').probe({ dir: '.', env: {} });
    console.log(available, reason, advice.fix, advice.command.join(' '));`;

  const probeWith = async (version?: string) => {
    const modules = join(root, 'node_modules');
    for (const path of ['package.json', 'dist'])
      await cp(join(ROOT, path), join(modules, '@authmesh/sdk', path), { recursive: true });
    for (const name of Object.keys(manifest.dependencies)) {
      await mkdir(dirname(join(modules, name)), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), join(modules, name)).catch(() => {}); // it is there
    }
    if (version !== undefined) {
      await mkdir(join(modules, '@napi-rs/keyring'), { recursive: true });
      await writeFile(
        join(modules, '@napi-rs/keyring/package.json'),
        JSON.stringify({ name: '@napi-rs/keyring', version, main: 'index.js' }),
      );
      await writeFile(
        join(modules, '@napi-rs/keyring/index.js'),
        'throw new Error("no file for this machine")',
      );
    }
    await writeFile(join(root, 'probe.mjs'), SCRIPT);
    return (await promisify(execFile)(process.execPath, ['probe.mjs'], { cwd: root, env: {} })).stdout.trim();
  };

  it('names the install command without @napi-rs/keyring, or with a version that does not fit', async () => {
    const install = 'npm install @napi-rs/keyring@2';
    expect(await probeWith()).toBe(
      `false The package @napi-rs/keyring is not installed. Install it next to amesh (with --global if amesh is installed so) ${install}`,
    );
    for (const version of ['1.3.0', '2.0.0', '3.0.0'])
      expect(await probeWith(version)).toContain(
        `@napi-rs/keyring ${version} is installed, but amesh needs 2.1 or a later 2.`,
      );
    expect(await probeWith('2.1.0')).toContain('@napi-rs/keyring does not run on this machine.');
  });
});
