import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { findBackend } from '@authmesh/sdk/admin';
import type { Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { type Machine, useMachines } from '../cli/amesh';
import { keyBackendContract } from '../support/key-backend-contract';
import { makeMac, pretendPlatform, type StandInMac } from '../support/secure-enclave';

// The helper in Swift runs on a Mac only. Here another program speaks its protocol, with a key in software.

const backend = findBackend('secure-enclave');
const createMachine = useMachines();
const MESSAGE = new TextEncoder().encode('what is signed');
const unavailable = (detail: string) => ({
  code: 'key_backend_unavailable',
  detail: expect.stringContaining(detail),
});

let restore: () => void;
let mac: StandInMac;
/** With one key, which most tests share: a helper takes a while to start. */
let home: string;
let ref: string;
let signer: Signer;
/** Empty. */
let root: string;
beforeAll(async () => {
  restore = pretendPlatform('darwin');
  mac = makeMac();
  home = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  ({ ref } = await backend.create(atHome()));
  signer = await backend.open(ref, atHome());
});
afterAll(async () => {
  restore();
  mac.remove();
  await rm(home, { recursive: true, maxRetries: 20 });
});
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(async () => {
  mac.reset();
  await rm(root, { recursive: true, maxRetries: 20 });
});
const context = (more: object = {}) => ({
  dir: root,
  env: { ...mac.env, AUTH_MESH_PASSPHRASE: 'x' },
  ...more,
});
const atHome = (more: object = {}) => context({ dir: home, ...more });

/** Does something with another text in a file, and puts the old one back. */
async function withFile(path: string, text: string | null, use: () => Promise<unknown>): Promise<void> {
  const [before, { mode }] = [await readFile(path), await stat(path)];
  await rm(path);
  if (text !== null) await writeFile(path, text, { mode });
  try {
    await use();
  } finally {
    await rm(path, { force: true });
    await writeFile(path, before, { mode });
  }
}

keyBackendContract(backend, async () => {
  const own = makeMac();
  const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  return {
    context: { dir, env: own.env },
    secrets: [],
    async remove() {
      own.remove();
      await rm(dir, { recursive: true, maxRetries: 20 });
    },
  };
});

describe('a key in a Secure Enclave', () => {
  it('has a helper and a file that only their owner can use, and sends the helper nothing but the protocol', async () => {
    const { ref, publicKey } = await backend.create(context());
    expect((await readdir(join(root, 'keys'))).sort()).toEqual(
      [ref, `${ref}-helper`].map((name) => name.slice('keys/'.length)),
    );
    const modes = [ref, 'keys', `${ref}-helper`].map(
      async (name) => (await stat(join(root, name))).mode & 0o777,
    );
    expect(await Promise.all(modes)).toEqual([0o600, 0o700, 0o700]);
    expect(mac.started().length).toBeGreaterThan(0);
    for (const started of mac.started()) expect(started).toEqual([[], {}]);

    const signer = await backend.open(ref, context());
    const long = new Uint8Array(1024 * 1024).fill(7);
    const verifier = await nodeCrypto.importPublicKey(publicKey);
    expect(await verifier.verify(await signer.sign(long), long)).toBe(true);
    const before = mac.started().length;
    await Promise.all(Array.from({ length: 10 }, () => signer.sign(MESSAGE)));
    expect(mac.started().length).toBeLessThanOrEqual(before + 2); // one helper for all that wait
    await expect(signer.sign(new Uint8Array(4 * 1024 * 1024 + 1))).rejects.toMatchObject(
      unavailable('signs at most 4194304 bytes at once'),
    );
    await backend.remove(ref, context());
    expect(await readdir(join(root, 'keys'))).toEqual([]);
  });
});

describe('the tools of a Mac', () => {
  it('do not exist on another system, which cannot open a key of a Mac', async () => {
    const undo = pretendPlatform('linux');
    try {
      const refused = unavailable('Only a Mac has a Secure Enclave.');
      await expect(backend.create(context())).rejects.toMatchObject(refused);
      expect(await backend.probe(context())).toMatchObject({ available: false, reason: refused.detail });
      await expect(backend.open(ref, atHome())).rejects.toMatchObject({ code: 'key_lost' });
    } finally {
      undo();
    }
  });

  it.each<[string, 'swiftc' | 'xcode-select', string | null]>([
    ['no xcode-select', 'xcode-select', null],
    [
      'no developer tools',
      'xcode-select',
      'echo "xcode-select: error: unable to get active developer directory" >&2; exit 2',
    ],
    ['no swiftc', 'swiftc', null],
    [
      'a swiftc that only asks for them',
      'swiftc',
      'echo "xcode-select: note: No developer tools were found, requesting install." >&2; exit 1',
    ],
  ])('%s: how to get them, and what to use instead', async (_, tool, script) => {
    mac.setTool(tool, script);
    await expect(backend.create(context())).rejects.toMatchObject({
      ...unavailable('This Mac has no swiftc'),
      fix: expect.stringMatching(/Secretive with --backend ssh-agent.* xcode-select --install$/),
    });
    expect(await readdir(join(root, 'keys')).catch(() => [])).toEqual([]);
  });

  it.each([
    [
      'an error',
      'echo "helper.swift:1:8: error: no such module \'CryptoKit\'" >&2; exit 1',
      "error: no such module 'CryptoKit'",
    ],
    ['a signal', 'kill -9 $$', 'SIGKILL'],
    ['success, but no helper', 'exit 0', 'it ended with 0'],
    ['1 MiB of errors', 'yes "error: no" | head -c 2000000 >&2; exit 1', 'error: no'],
  ])('swiftc ends with %s: the error says so, and nothing is left', async (_, script, detail) => {
    mac.setTool('swiftc', script);
    await expect(backend.create(context())).rejects.toMatchObject({
      ...unavailable('swiftc did not compile the helper'),
      detail: expect.stringContaining(detail),
    });
    expect(await readdir(join(root, 'keys'))).toEqual([]);
  });

  it('a swiftc that hangs is given up', async () => {
    mac.setTool('swiftc', 'exec sleep 600');
    const signal = AbortSignal.timeout(300);
    await expect(backend.create(context({ signal }))).rejects.toMatchObject(
      unavailable('swiftc has not finished in time'),
    );
    expect(await readdir(join(root, 'keys'))).toEqual([]);
  });

  it('compile a file of the package, which has each word of the protocol', async () => {
    expect(manifest.files).toContain('src/keys/secure-enclave/helper.swift');
    const source = await readFile(
      resolve(import.meta.dirname, '../../src/keys/secure-enclave/helper.swift'),
      'utf8',
    );
    for (const word of ['create', 'open', 'sign', 'no-enclave', 'foreign-key', 'request', 'failed'])
      expect(source).toContain(`"${word}"`);
  });
});

describe('a helper', () => {
  it.each<[string, string | null, string]>([
    ['that is missing', null, 'is missing'],
    ['that was changed', '#!/bin/sh\necho ok\n', 'was changed'],
  ])('%s opens no key and signs nothing', async (_, text, detail) => {
    await withFile(join(home, `${ref}-helper`), text, async () => {
      await expect(backend.open(ref, atHome())).rejects.toMatchObject(unavailable(detail));
      await expect(signer.sign(MESSAGE)).rejects.toMatchObject(unavailable(detail));
      expect(await backend.probe(atHome(), ref)).toMatchObject({ available: false });
    });
  });

  it('that may not be run is reported as one that does not start', async () => {
    await chmod(join(home, `${ref}-helper`), 0o600);
    await expect(backend.open(ref, atHome())).rejects.toMatchObject(
      unavailable('cannot be started (EACCES)'),
    );
    await chmod(join(home, `${ref}-helper`), 0o700);
  });

  it('of a Mac without a Secure Enclave makes no key', async () => {
    mac.setEnclave(null);
    await expect(backend.create(context())).rejects.toMatchObject(
      unavailable('This Mac has no Secure Enclave'),
    );
    expect(await readdir(join(root, 'keys'))).toEqual([]);
  });

  it('of another Mac does not open the key: it is lost there, and works again here', async () => {
    mac.setEnclave('another Mac');
    await expect(backend.open(ref, atHome())).rejects.toMatchObject({
      code: 'key_lost',
      detail: expect.stringContaining('The Secure Enclave of this Mac does not know the key'),
      fix: expect.stringMatching(
        /^If nobody has logged in since this Mac was started, log in, and try again\./,
      ),
    });
    mac.setEnclave('this Mac');
    await backend.open(ref, atHome());
  });

  const sent = (text: string) => `is not a working helper: it sent ${text}`;
  it.each<[string, string, string]>([
    ['nothing, and ends', '() => process.exit(3)', 'ended without a response'],
    [
      'half an answer, and ends',
      '() => { process.stdout.write("ok AA", () => process.exit(0)) }',
      'ended without a response',
    ],
    ['an empty line', '() => "\\n"', sent('an invalid response')],
    ['text', '() => "hello\\n"', sent('an invalid response')],
    ['only ok', '() => "ok\\n"', sent('an invalid response')],
    ['control characters', '() => "ok \\x1b[2J\\n"', sent('an invalid response')],
    ['wrong Base64', '() => "ok A=A=\\n"', sent('something other than Base64')],
    ['Base64 of another spelling', '() => "ok AB==\\n"', sent('something other than Base64')],
    ['one value too many', '() => "ok AAAA AAAA AAAA AAAA\\n"', sent('4 values')],
    ['two answers', '(words, honest) => honest() + honest()', sent('more than one response')],
    ['an endless line', '() => "A".repeat(10_000_000)', sent('too long a response')],
    ['an answer that is too long', '() => "ok " + "AAAA".repeat(3000) + "\\n"', sent('too long a response')],
    ['an unknown error', '() => "error disk-full\\n"', sent('an unknown error')],
    ['that it failed', '() => "error failed\\n"', 'The Secure Enclave failed.'],
  ])('that answers with %s signs nothing', async (_, behaviour, detail) => {
    mac.setBehaviour(behaviour);
    await expect(signer.sign(MESSAGE)).rejects.toMatchObject(unavailable(detail));
  });

  const other = Buffer.alloc(33, 2).toString('base64');
  it.each<[string, string, string]>([
    [
      'another public key',
      `(words, honest) => words[0] === "open" ? "ok ${other}\\n" : honest()`,
      'another public key',
    ],
    [
      'a short public key',
      '(words, honest) => words[0] === "open" ? "ok AgIC\\n" : honest()',
      'a value of 3 bytes',
    ],
    [
      'a short signature',
      '(words, honest) => words[0] === "sign" ? "ok AgIC\\n" : honest()',
      'a value of 3 bytes',
    ],
    [
      'the signature of another message',
      '(words, honest) => { if (words[0] === "sign") words[1] = "AAAA"; return honest(); }',
      'a signature that is not one of this key',
    ],
    [
      'two answers, the second too early',
      '(words, honest) => words[0] === "open" ? honest() + "ok AAAA\\n" : honest()',
      'more than one response',
    ],
  ])('that answers with %s signs nothing, and no key of it is kept', async (_, behaviour, detail) => {
    mac.setBehaviour(behaviour);
    await expect(signer.sign(MESSAGE)).rejects.toMatchObject(unavailable(sent(detail)));
    await expect(backend.create(context())).rejects.toMatchObject(unavailable(sent(detail)));
    expect(await readdir(join(root, 'keys'))).toEqual([]);
    mac.setBehaviour(null);
    expect(await signer.sign(MESSAGE)).toHaveLength(64);
  });

  it('that makes a key off the curve gives no key', async () => {
    mac.setBehaviour(
      `(words, honest) => words[0] === "create" ? "ok AAAA ${Buffer.alloc(33, 5).toString('base64')}\\n" : honest()`,
    );
    await expect(backend.create(context())).rejects.toMatchObject(unavailable(sent('an invalid public key')));
  });

  it('that hangs is reported, given up and ended; all that wait fail together', async () => {
    const signal = new AbortController();
    const waiting = await backend.open(ref, atHome({ signal: signal.signal }));
    mac.setBehaviour(
      `(words, honest) => { require('node:fs').writeFileSync(${JSON.stringify(join(root, 'pid'))}, String(process.pid)); }`,
    );
    const told: string[] = [];
    const onWait = (text: string) => {
      told.push(text);
      signal.abort();
    };
    const late = unavailable('has not responded in time');
    await expect(backend.open(ref, atHome({ onWait, signal: signal.signal }))).rejects.toMatchObject(late);
    expect(told).toEqual(['Waiting for the helper of the Secure Enclave. amesh waits at most 60 s.']);
    const all = await Promise.allSettled([waiting.sign(MESSAGE), waiting.sign(MESSAGE)]);
    expect(all).toMatchObject([{ reason: late }, { reason: late }]);
    const pid = Number(await readFile(join(root, 'pid'), 'utf8'));
    await expect.poll(() => isRunning(pid), { timeout: 20_000 }).toBe(false);
  });
});

function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(execFileSync('cat', [`/proc/${pid}/stat`], { stdio: 'pipe' }).toString());
  } catch {
    return false;
  }
}

/** Ten requests at once, to a server that trusts the machine. One working key signs them all. */
async function signRequests(caller: Machine, env: Readonly<Record<string, string>>): Promise<void> {
  const server = await createMachine();
  await server.amesh(['init', '--name', 'server'], { env });
  const line = async (of: Machine) => (await of.amesh(['trust', 'export'], { env })).stdout.trim();
  await server.amesh(['trust', 'add', '--role', 'controller', await line(caller)], { env });
  const verify = createAmesh({ dir: server.dir, env }).verify();
  const http = createServer((request, response) =>
    verify(request as never, response as never, () => response.end('ok')),
  );
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo;
  const host = `127.0.0.1:${port}`;
  await caller.amesh(['trust', 'add', '--role', 'target', '--host', host, await line(server)], { env });
  const amesh = createAmesh({ dir: caller.dir, env });
  const signAll = () => Promise.all(Array.from({ length: 10 }, () => amesh.fetch(`http://${host}/`)));
  expect((await signAll()).map(({ status }) => status)).toEqual(Array(10).fill(200));
  const before = mac.started().length;
  await signAll();
  expect(mac.started()).toHaveLength(before);
  http.close();
  http.closeAllConnections();
}

describe('amesh on a Mac', () => {
  it('mentions the Secure Enclave if nobody chose, explains it, and keeps a key there', async () => {
    const { env } = mac;
    const machine = await createMachine();
    const plain = await machine.amesh(['init', '--name', 'mac'], { env });
    expect(plain.stderr).toContain(
      'amesh init --name NAME --backend secure-enclave --force keeps the key in it.',
    );
    const chosen = await machine.amesh(['init', '--name', 'mac', '--backend', 'secure-enclave', '--force'], {
      env,
    });
    expect(chosen.stderr).toContain(
      '✓ Key      In the Secure Enclave of this Mac (experimental): nobody can copy it.',
    );
    expect((await machine.amesh(['keys'], { env })).stdout).toMatch(
      /✓ secure-enclave {2}\(the key of this machine\)\n.*experimental.*Secretive with --backend ssh-agent/,
    );
    const helper = (await readdir(join(machine.dir, 'keys'))).find((name) => name.endsWith('-helper')) ?? '';
    await chmod(join(machine.dir, 'keys', helper), 0o755);
    const doctor = await machine.amesh(['doctor'], { env });
    expect(doctor.stdout + doctor.stderr).toMatch(/chmod 700 .*\.enclave-helper/);
    await signRequests(machine, env);
  });
});

describe('the file of a key', () => {
  it.each<[string, (text: string) => string]>([
    ['is empty', () => ''],
    ['has another first line', (text) => text.replace('# A', '# a')],
    ['has a line too many', (text) => `${text}\n`],
    ['has no helper', (text) => text.replace(/helper.*\n/, '')],
    ['has a public key off the curve', (text) => text.replace(/(public-key: )\S+/, `$1${'A'.repeat(44)}`)],
    ['has Base64 of another spelling', (text) => text.replace(/(key: \S+)\n/, '$1=\n')],
    ['has a key of 1 MiB', (text) => text.replace(/\nkey: /, `\nkey: ${'A'.repeat(1024 * 1024)}`)],
  ])('that %s opens nothing', async (_, change) => {
    const path = join(home, ref);
    await withFile(path, change(await readFile(path, 'utf8')), async () => {
      await expect(backend.open(ref, atHome())).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:identity_unreadable|key_backend_unavailable)$/),
      });
    });
  });
});
