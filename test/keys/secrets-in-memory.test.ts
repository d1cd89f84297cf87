import { createPrivateKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type DeviceIdentity, type Env, openDevice } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Script, toScript } from '../support/child';
import { describeWithKeyring, startGnomeKeyring } from '../support/gnome-keyring';
import { type Listening, listen } from '../support/listen';
import { asScalar, asText, searchMemory } from '../support/memory';
import { describeWithAgent, startAgent } from '../support/ssh-agent';
import { describeWithTpm, startSwtpm } from '../support/swtpm';

const SECRET = 'correct horse battery staple 4711';
const HAS_MEMORY = existsSync('/proc/self/mem');
if (!HAS_MEMORY) console.warn('Tests of the memory of a process are skipped: there is no /proc/self/mem.');

let root: string;
let script: Script;
let target: Listening;
beforeAll(async () => {
  script = await toScript('test/keys/processes/caller.ts');
});
afterAll(() => script?.remove());
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  await createIdentity(join(root, 'target'), {}, { friendlyName: 'target' });
  const verify = createAmesh({ dir: join(root, 'target'), env: {} }).verify();
  target = await listen((req, res) => verify(req, res, () => void res.end('passed')));
});
afterEach(async () => {
  await target?.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

async function trust(caller: DeviceIdentity): Promise<void> {
  const { trust } = await openDevice(join(root, 'target'), {});
  await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
}

/** Searches the memory of a program after its first signed request. */
async function search<Name extends string>(env: Env, wanted: Readonly<Record<Name, Uint8Array>>) {
  const child = script.start([target.origin], {
    env: { ...(env as Record<string, string>), AUTH_MESH_DIR: join(root, 'caller') },
  });
  try {
    expect(await child.line('answered ')).toBe('200');
    return await searchMemory(child.pid, wanted);
  } finally {
    child.kill('SIGKILL');
    await child.ended;
  }
}

describe.skipIf(!HAS_MEMORY && !process.env.CI)('The memory of a program with a key in a file', () => {
  let d: string;
  /** Makes the identity with a passphrase from a file, and returns that. */
  async function makeCaller(): Promise<string> {
    const file = join(root, 'passphrase');
    await writeFile(file, `${SECRET}\n`);
    const caller = await createIdentity(
      join(root, 'caller'),
      { AMESH_PASSPHRASE_FILE: file },
      { friendlyName: 'caller' },
    );
    await trust(caller);
    const pem = await readFile(join(root, 'caller', caller.key.ref), 'utf8');
    d = createPrivateKey({ key: pem, passphrase: SECRET }).export({ format: 'jwk' }).d as string;
    return file;
  }

  it('has no passphrase that came from a file, and its key only as OpenSSL keeps it', async () => {
    const AMESH_PASSPHRASE_FILE = await makeCaller();
    const { native, ...found } = await search(
      { AMESH_PASSPHRASE_FILE },
      { ...asText(SECRET), ...asScalar(d) },
    );
    expect(found).toEqual({ utf8: 0, utf16: 0, raw: 0, jwk: 0 });
    expect(native).toBeGreaterThan(0); // it signs with it; and the search finds what is there
  });

  it('has no passphrase that came from a systemd credential', async () => {
    await makeCaller();
    const CREDENTIALS_DIRECTORY = join(root, 'credentials');
    await mkdir(CREDENTIALS_DIRECTORY);
    await writeFile(join(CREDENTIALS_DIRECTORY, 'amesh-passphrase'), SECRET);
    expect(await search({ CREDENTIALS_DIRECTORY }, asText(SECRET))).toEqual({ utf8: 0, utf16: 0 });
  });

  it('has a passphrase that came from the environment', async () => {
    await makeCaller();
    expect((await search({ AUTH_MESH_PASSPHRASE: SECRET }, asText(SECRET))).utf8).toBeGreaterThan(0);
  });

  it('has no passphrase that amesh generated', async () => {
    const caller = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
    await trust(caller);
    const generated = (await readFile(join(root, 'caller/.passphrase'), 'utf8')).trim();
    expect(await search({}, asText(generated))).toEqual({ utf8: 0, utf16: 0 });
  });
});

describeWithAgent('The memory of a program with a key in an SSH agent', () => {
  it('has no private key of the device', async () => {
    const agent = await startAgent();
    try {
      await agent.add('amesh');
      const env = { SSH_AUTH_SOCK: agent.path };
      await trust(
        await createIdentity(join(root, 'caller'), env, { friendlyName: 'caller', backend: 'ssh-agent' }),
      );
      await agent.run('ssh-keygen', '-q', '-p', '-N', '', '-m', 'PEM', '-f', join(agent.dir, 'key-0'));
      const key = createPrivateKey(await readFile(join(agent.dir, 'key-0'), 'utf8'));
      const scalar = asScalar(key.export({ format: 'jwk' }).d as string);
      expect(await search(env, scalar)).toEqual({ raw: 0, native: 0, jwk: 0 });
    } finally {
      await agent.remove();
    }
  });
});

describeWithTpm('The memory of a program with a key in a TPM', () => {
  it('has its PIN once, for the next signature', async () => {
    const tpm = await startSwtpm();
    try {
      const pin = 'a PIN of 27 bytes: 12345678';
      await writeFile(join(root, 'pin'), `${pin}\n`);
      const env = { AMESH_TPM: tpm.address, AMESH_PIN_FILE: join(root, 'pin') };
      await trust(
        await createIdentity(join(root, 'caller'), env, { friendlyName: 'caller', backend: 'tpm2' }),
      );
      expect(await search(env, asText(pin))).toEqual({ utf8: 1, utf16: 0 });
    } finally {
      await tpm.remove();
    }
  });
});

describeWithKeyring('The memory of a program with a passphrase in the keychain', () => {
  it('has that passphrase only where the keychain library leaves it, and its key only as OpenSSL keeps it', async () => {
    const keyring = await startGnomeKeyring();
    const before = process.env.DBUS_SESSION_BUS_ADDRESS;
    try {
      process.env.DBUS_SESSION_BUS_ADDRESS = keyring.env.DBUS_SESSION_BUS_ADDRESS; // its library reads no other
      const { env } = keyring;
      const caller = await createIdentity(join(root, 'caller'), env, {
        friendlyName: 'caller',
        backend: 'keychain',
      });
      await trust(caller);
      const passphrase = keyring.run(`secret-tool lookup service amesh username ${caller.key.ref}`);
      const pem = await readFile(join(root, 'caller', caller.key.ref), 'utf8');
      const { d } = createPrivateKey({ key: pem, passphrase }).export({ format: 'jwk' });
      const NODE_PATH = resolve('node_modules');
      const { native, utf8, ...found } = await search(
        { ...env, NODE_PATH },
        { ...asText(passphrase), ...asScalar(d as string) },
      );
      expect(found).toEqual({ utf16: 0, raw: 0, jwk: 0 });
      expect(native).toBeGreaterThan(0);
      expect(utf8).toBeLessThan(3); // the library overwrites nothing
    } finally {
      if (before === undefined) delete process.env.DBUS_SESSION_BUS_ADDRESS;
      else process.env.DBUS_SESSION_BUS_ADDRESS = before;
      await keyring.remove();
    }
  });
});
