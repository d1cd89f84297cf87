import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createIdentity } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BIN } from '../cli/amesh';
import { ensureBuilt } from '../support/built';

const PRELOAD = new URL('../support/loads.cjs', import.meta.url).pathname;

/** What takes long to load. What is printed into a pipe takes net. */
const DEAR = ['child_process', 'dgram', 'http', 'http2', 'https', 'module', 'tls', 'zlib'];

/** Other ways to keep a key, and what only some commands do. */
const OTHERS =
  /\/(?:tpm2|ssh-agent|keychain|secure-enclave|pairing|bootstrap|rotate|nonces|verify\/checks)\b/;

let dir: string;

beforeAll(async () => {
  await ensureBuilt();
  dir = await mkdtemp(join(tmpdir(), 'amesh-start-'));
  await createIdentity(dir, {}, { friendlyName: 'start' });
}, 180_000);

afterAll(() => rm(dir, { recursive: true, force: true }));

/** What a process of Node loads with these arguments. */
async function loadedBy(...args: string[]) {
  const child = spawn(process.execPath, ['--require', PRELOAD, ...args], {
    env: { PATH: process.env.PATH, AUTH_MESH_DIR: dir },
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  const [stdout, told] = await Promise.all([
    text(child.stdout as Readable),
    text(child.stdio[3] as Readable),
  ]);
  const { files, builtins } = JSON.parse(told) as { files: Record<string, number>; builtins: string[] };
  const loaded = Object.entries(files).filter(([url]) => !url.endsWith('/loads.cjs'));
  return {
    stdout,
    files: loaded.map(([url]) => url),
    characters: loaded.reduce((sum, [, length]) => sum + length, 0),
    dear: builtins.filter((name) => DEAR.includes(name)),
  };
}

// A command takes about as long as what it loads. The limits allow for small additions to a command, and not for another module of the SDK.
describe('a command loads no more than it needs:', () => {
  it('amesh --version, its help, and that of one command', async () => {
    const [version, all, help] = await Promise.all([
      loadedBy(BIN, '--version'),
      loadedBy(BIN, '--help'),
      loadedBy(BIN, 'rename', '--help'),
    ]);
    expect(all.stdout).toContain('  whoami ');
    expect(all.files.length).toBeLessThanOrEqual(version.files.length + 4);
    expect(version.stdout).not.toBe('');
    expect(version.files.filter((url) => !/\/(?:cli|citty)\//.test(url))).toEqual([]);
    expect(version.files.length).toBeLessThanOrEqual(6);
    expect(version.characters).toBeLessThanOrEqual(60_000);
    expect(help.stdout).toContain('amesh rename');
    expect([...version.dear, ...all.dear, ...help.dear]).toEqual([]);
  });

  it('amesh whoami', async () => {
    const { stdout, files, characters, dear } = await loadedBy(BIN, 'whoami');
    expect(stdout).toContain('start');
    expect(dear).toEqual([]);
    expect(files.filter((url) => OTHERS.test(url))).toEqual([]);
    expect(files.length).toBeLessThanOrEqual(36);
    expect(characters).toBeLessThanOrEqual(360_000);
  });
});
