import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BACKENDS, createIdentity, type Env, findBackend, openDevice } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openEncryptedPem, toEncryptedPem } from '../../src/keys/pkcs8';
import { keyBackendContract } from '../support/key-backend-contract';

const backend = findBackend('encrypted-file');
const SECRET = 'correct horse battery staple, ünïcödé';

let root: string;
let dir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'home');
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

keyBackendContract(backend, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  return {
    context: { dir, env: { AUTH_MESH_PASSPHRASE: SECRET } },
    secrets: [SECRET],
    remove: () => rm(dir, { recursive: true, maxRetries: 20 }),
  };
});

/** A key below this passphrase, with few rounds: what is asked of it is not how long it takes to open. */
async function createQuickly(passphrase: string): Promise<string> {
  const { ref } = await backend.create({ dir, env: {} });
  const generated = await readFile(join(dir, '.passphrase'), 'utf8');
  const pem = await readFile(join(dir, ref), 'utf8');
  const key = createPrivateKey({ key: pem, passphrase: generated.trim() });
  await rm(join(dir, '.passphrase'), { force: true });
  await writeFile(join(dir, ref), await toEncryptedPem(key, passphrase, 2048));
  return ref;
}

const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
const openssl = (args: readonly string[], input?: string) =>
  execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });

const hasOpenssl = isOpensslHere();
if (!hasOpenssl) console.warn('Tests of what openssl reads are skipped: there is no openssl in the PATH.');
const itWithOpenssl = it.skipIf(!hasOpenssl && !process.env.CI);

function isOpensslHere(): boolean {
  try {
    openssl(['version']);
    return true;
  } catch {
    return false;
  }
}

/** A folder where passphrases come from, each way that a user can supply one. */
async function suppliedBy(way: string, place = root): Promise<Env> {
  const outside = join(place, 'outside');
  await mkdir(outside, { recursive: true });
  if (way === 'AUTH_MESH_PASSPHRASE') return { AUTH_MESH_PASSPHRASE: SECRET };
  if (way === 'AMESH_PASSPHRASE_FILE') {
    await writeFile(join(outside, 'passphrase'), `${SECRET}\n`);
    return { AMESH_PASSPHRASE_FILE: join(outside, 'passphrase') };
  }
  await writeFile(join(outside, 'amesh-passphrase'), SECRET);
  return { CREDENTIALS_DIRECTORY: outside };
}

const WAYS = ['AUTH_MESH_PASSPHRASE', 'AMESH_PASSPHRASE_FILE', 'CREDENTIALS_DIRECTORY'];

async function everyFile(): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** The rounds of PBKDF2 as openssl reads them out of a key file: the only number in it that is not a version. */
function roundsOf(pem: string): { rounds: number; text: string } {
  const text = openssl(['asn1parse', '-in', pem]);
  const numbers = [...text.matchAll(/INTEGER\s+:([0-9A-F]+)/g)].map(([, hex = '']) =>
    Number.parseInt(hex, 16),
  );
  return { rounds: numbers[0] as number, text };
}

describe('the key file', () => {
  describe.each(WAYS)('for the passphrase of %s', (way) => {
    let place: string;
    let path: string;
    let publicKey: Uint8Array;
    beforeAll(async () => {
      place = await mkdtemp(join(tmpdir(), 'amesh-test-'));
      const context = { dir: join(place, 'home'), env: await suppliedBy(way, place) };
      const created = await backend.create(context);
      path = join(context.dir, created.ref);
      publicKey = created.publicKey;
    });
    afterAll(() => rm(place, { recursive: true, maxRetries: 20 }));

    itWithOpenssl('is what openssl reads', () => {
      const read = ['pkey', '-in', path, '-pubout', '-ec_conv_form', 'compressed', '-outform', 'DER'];
      const der = execFileSync('openssl', [...read, '-passin', `pass:${SECRET}`]);
      expect(der.subarray(-33)).toEqual(Buffer.from(publicKey));
      expect(() => openssl([...read, '-passin', 'pass:wrong'])).toThrow();
    });

    itWithOpenssl('has 600,000 rounds of PBKDF2-SHA256', () => {
      const { rounds, text } = roundsOf(path);
      expect(rounds).toBe(600_000);
      expect(text).toMatch(/PBES2[\s\S]*PBKDF2[\s\S]*hmacWithSHA256[\s\S]*aes-256-cbc/);
    });
  });

  itWithOpenssl('has 2048 rounds for a generated passphrase, of 256 bits', async () => {
    const { ref } = await backend.create({ dir, env: {} });
    expect(roundsOf(join(dir, ref)).rounds).toBe(2048);
    const text = (await readFile(join(dir, '.passphrase'), 'utf8')).trim();
    expect(Buffer.from(text, 'base64url')).toHaveLength(32);
    openssl(['pkey', '-in', join(dir, ref), '-noout', '-passin', `pass:${text}`]);
  });

  itWithOpenssl('has a salt and an iv of its own', async () => {
    const env = {};
    const texts: string[] = [];
    for (let i = 0; i < 2; i++)
      texts.push(roundsOf(join(dir, (await backend.create({ dir, env })).ref)).text);
    const octets = texts.map((text) =>
      [...text.matchAll(/OCTET STRING\s+\[HEX DUMP\]:(\w+)/g)].map((m) => m[1]),
    );
    expect(octets[0]).toHaveLength(3);
    for (let i = 0; i < 3; i++) expect(octets[0]?.[i]).not.toBe(octets[1]?.[i]);
  });

  it('is refused if it is not encrypted', async () => {
    const { ref } = await backend.create({ dir, env: {} });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(join(dir, ref), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await expect(backend.open(ref, { dir, env: {} })).rejects.toMatchObject({
      code: 'identity_unreadable',
      message: expect.stringContaining('not an encrypted PKCS#8 key'),
    });
  });

  it('is refused if it holds a key of another curve', async () => {
    const { ref } = await backend.create({ dir, env: {} });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' });
    await writeFile(join(dir, ref), pem);
    await expect(backend.open(ref, { dir, env: { AUTH_MESH_PASSPHRASE: 'x' } })).rejects.toMatchObject({
      code: 'identity_unreadable',
      message: expect.stringContaining('not contain a P-256 key'),
    });
  });
});

describe('the passphrase', () => {
  it.each(WAYS)('never reaches the disk when %s supplies it', async (way) => {
    const env = await suppliedBy(way);
    await createIdentity(dir, env, { friendlyName: 'server' });
    expect((await readdir(dir)).sort()).toEqual(['allow_list.json', 'identity.json', 'keys', 'seen.json']);
    for (const path of await everyFile()) expect(await readFile(path, 'utf8'), path).not.toContain(SECRET);
    expect((await openDevice(dir, env)).identity.friendlyName).toBe('server');
  });

  it('comes from the environment first, then from the file, then from the credential, then from the folder', async () => {
    const context = { dir, env: {} };
    const { ref } = await backend.create(context);
    const right = (await readFile(join(dir, '.passphrase'), 'utf8')).trim();
    const file = join(root, 'file');
    await writeFile(file, `${right}\r\n`);
    await writeFile(join(root, 'amesh-passphrase'), 'wrong');
    const code = (env: Env) =>
      backend.open(ref, { dir, env }).then(
        () => 'opened',
        (error) => error.code,
      );
    expect(await code({ CREDENTIALS_DIRECTORY: root })).toBe('passphrase_wrong');
    expect(await code({ CREDENTIALS_DIRECTORY: root, AMESH_PASSPHRASE_FILE: file })).toBe('opened');
    const all = { CREDENTIALS_DIRECTORY: root, AMESH_PASSPHRASE_FILE: file, AUTH_MESH_PASSPHRASE: 'wrong' };
    expect(await code(all)).toBe('opened');
    const two = { CREDENTIALS_DIRECTORY: root, AUTH_MESH_PASSPHRASE: right };
    expect(await code(two)).toBe('passphrase_wrong');
    expect(await code({ ...two, CREDENTIALS_DIRECTORY: join(root, 'empty') })).toBe('opened');
    expect(await code({ CREDENTIALS_DIRECTORY: join(root, 'empty') })).toBe('opened');
    expect(await code({ AUTH_MESH_PASSPHRASE: '', AMESH_PASSPHRASE_FILE: file })).toBe('opened');
  });

  it('is asked for if there is none', async () => {
    const { ref } = await backend.create({ dir, env: { AUTH_MESH_PASSPHRASE: SECRET } });
    await expect(backend.open(ref, { dir, env: {} })).rejects.toMatchObject({
      code: 'passphrase_required',
      message:
        'The private key is encrypted, and no passphrase was supplied. Set AUTH_MESH_PASSPHRASE or AMESH_PASSPHRASE_FILE.',
    });
  });

  it('is reported as gone if amesh generated it, and nothing is made in its place', async () => {
    const { ref } = await backend.create({ dir, env: {} });
    await rm(join(dir, '.passphrase'));
    const before = await everyFile();
    await expect(backend.open(ref, { dir, env: {} })).rejects.toMatchObject({
      code: 'passphrase_required',
      message: `The passphrase of the private key was generated, but its file is missing: ${join(dir, '.passphrase')}. Nothing was changed. Restore it from a backup. If there is none, the key is lost: create a new identity, and pair again: amesh init --name NAME --force`,
    });
    expect(await everyFile()).toEqual(before);
  });

  it('is not ignored silently if its file is missing, empty or blank', async () => {
    await writeFile(join(root, 'empty'), '\n');
    await writeFile(join(root, 'blank'), ' \t \r\n');
    for (const name of ['missing', 'empty', 'blank']) {
      const env = { AMESH_PASSPHRASE_FILE: join(root, name) };
      await expect(backend.create({ dir, env })).rejects.toMatchObject({
        code: 'passphrase_required',
        message: expect.stringContaining('cannot be read from the file of AMESH_PASSPHRASE_FILE'),
        fix: 'Correct that file, or unset AMESH_PASSPHRASE_FILE.',
      });
    }
    await writeFile(join(root, 'amesh-passphrase'), '\n');
    await expect(backend.create({ dir, env: { CREDENTIALS_DIRECTORY: root } })).rejects.toMatchObject({
      code: 'passphrase_required',
      fix: 'Correct the credential amesh-passphrase, or remove it.',
    });
    await expect(readdir(dir)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is refused if it is longer than openssl could read again', async () => {
    const env = { AUTH_MESH_PASSPHRASE: 'x'.repeat(1024) };
    const { ref } = await backend.create({ dir, env });
    expect((await backend.open(ref, { dir, env })).publicKey).toHaveLength(33);
    await expect(
      backend.create({ dir, env: { AUTH_MESH_PASSPHRASE: 'x'.repeat(1025) } }),
    ).rejects.toMatchObject({
      code: 'passphrase_required',
      message: expect.stringContaining('longer than 1024 bytes'),
    });
  });

  it.each(['', 'half-writ', `${'A'.repeat(43)}B`, 'a passphrase of somebody'])(
    'does not pass for a generated one if .passphrase holds %j',
    async (text) => {
      await mkdir(dir);
      await writeFile(join(dir, '.passphrase'), text);
      await expect(backend.create({ dir, env: {} })).rejects.toMatchObject({
        code: 'passphrase_required',
        message: `${join(dir, '.passphrase')}, the file of the generated passphrase, is damaged. Restore it from a backup. If there is none, the key is lost: create a new identity, and pair again: amesh init --name NAME --force`,
      });
      const { ref } = await backend.create({ dir, env: {}, isForced: true });
      await backend.open(ref, { dir, env: {} });
      const [kept = ''] = await readdir(join(dir, 'replaced'));
      expect(await readFile(join(dir, 'replaced', kept, '.passphrase'), 'utf8')).toBe(text);
    },
  );

  it('opens nothing if it is wrong, and the error does not show it', async () => {
    const ref = await createQuickly(SECRET);
    const error = await backend
      .open(ref, { dir, env: { AUTH_MESH_PASSPHRASE: 'wrong one' } })
      .catch((e) => e);
    expect(error.code).toBe('passphrase_wrong');
    expect(`${error.stack} ${error.cause}`).not.toMatch(/wrong one|battery/);
  });
});

describe('the modes', () => {
  it.each([0, 0o022, 0o777])('belong to the owner alone under umask %o', async (mask) => {
    const before = process.umask(mask);
    try {
      await createIdentity(dir, {}, { friendlyName: 'server' });
    } finally {
      process.umask(before);
    }
    for (const path of await everyFile()) {
      expect(await modeOf(path), path).toBe(path.endsWith('.passphrase') ? '400' : '600');
    }
    expect(await modeOf(dir)).toBe('700');
    expect(await modeOf(join(dir, 'keys'))).toBe('700');
  });

  it('of an existing folder stay, and its keys are in one of 0700', async () => {
    await mkdir(dir);
    await chmod(dir, 0o755);
    await createIdentity(dir, {}, { friendlyName: 'server' });
    expect(await modeOf(dir)).toBe('755');
    expect(await modeOf(join(dir, 'keys'))).toBe('700');
  });
});

describe('the list of backends', () => {
  it('has encrypted-file as its default, and refuses an unknown name', () => {
    expect(BACKENDS[0]?.id).toBe('encrypted-file');
    expect(() => findBackend('floppy')).toThrowError(
      expect.objectContaining({
        code: 'key_backend_unavailable',
        message: expect.stringContaining('There is no key backend "floppy".'),
      }),
    );
  });
});

/** A key that claims 2,000,001 rounds and has fewer: it is refused before anything is derived. */
async function withTooManyRounds(key: KeyObject, passphrase: string): Promise<string> {
  const pem = await toEncryptedPem(key, passphrase, 100_000);
  const hex = Buffer.from(pem.replace(/^-.*$/gm, ''), 'base64').toString('hex');
  const changed = hex.replace('02030186a0', '02031e8481');
  expect(changed).not.toBe(hex);
  const body = Buffer.from(changed, 'hex').toString('base64');
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${body}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
}

describe('an encrypted key', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const passphrase = Buffer.from(SECRET);
  const WRITERS: readonly [name: string, write: () => string | Promise<string>][] = [
    ['as amesh writes it', () => toEncryptedPem(privateKey, SECRET, 1000)],
    ...['aes-256-cbc', 'aes-128-cbc', 'des-ede3-cbc'].map((cipher): [string, () => string] => [
      `as Node writes it, with ${cipher}`,
      () => privateKey.export({ format: 'pem', type: 'pkcs8', cipher, passphrase: SECRET }) as string,
    ]),
  ];

  it.each(WRITERS)('%s opens with its passphrase, and with no other', async (_name, write) => {
    const pem = await write();
    const opened = await openEncryptedPem(pem, passphrase);
    expect(opened.equals(privateKey)).toBe(true);
    for (let i = 0; i < 20; i++)
      await expect(openEncryptedPem(pem, Buffer.from(`no ${i}`))).rejects.toThrow();
  });

  itWithOpenssl.each(['hmacWithSHA256', 'hmacWithSHA1', 'hmacWithSHA512'])(
    'that openssl writes with %s opens',
    async (prf) => {
      const plain = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
      const how = ['-v2', 'aes-256-cbc', '-v2prf', prf, '-passout', `pass:${SECRET}`];
      const pem = openssl(['pkcs8', '-topk8', ...how], plain);
      expect((await openEncryptedPem(pem, passphrase)).equals(privateKey)).toBe(true);
    },
  );

  it('that was changed in any byte does not open, or is the same key', async () => {
    const pem = await toEncryptedPem(privateKey, SECRET, 1);
    const [, body = ''] = /-\n([^-]+)\n-/.exec(pem) ?? [];
    const der = Buffer.from(body, 'base64');
    for (let at = 0; at < der.length; at++) {
      const changed = Buffer.from(der);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x04, at);
      const text = pem.replace(body, changed.toString('base64'));
      const opened = await openEncryptedPem(text, passphrase).catch(() => null);
      if (opened !== null) expect(opened.equals(privateKey)).toBe(true);
    }
  });
});

describe('a key file that is not exactly one encrypted key', () => {
  it('is refused, whatever passphrase it would open with', async () => {
    const context = { dir, env: { AUTH_MESH_PASSPHRASE: 'any' } };
    const ref = await createQuickly('any');
    const path = join(dir, ref);
    const real = await readFile(path, 'utf8');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const clear = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
    const block = (body: string) =>
      `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${body}\n-----END ENCRYPTED PRIVATE KEY-----\n`;
    const clearDer = privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64');
    for (const pem of [
      clear,
      `${block('')}${clear}`,
      `${block('AAAA')}${clear}`,
      `${real}${clear}`,
      block(clearDer),
      // PBES2 with a number of rounds of no bytes
      block(
        Buffer.from('301d301906092a864886f70d01050d300c300a06022a003004040002000400', 'hex').toString(
          'base64',
        ),
      ),
      `\n${real}`,
      await withTooManyRounds(privateKey, 'any'),
    ]) {
      await writeFile(path, pem);
      await expect(backend.open(ref, { ...context })).rejects.toMatchObject({
        code: 'identity_unreadable',
      });
    }
    await writeFile(path, real);
    expect((await backend.open(ref, { ...context })).publicKey).toHaveLength(33);
  });
});

describe('AMESH_PASSPHRASE_FILE', () => {
  it('is read once, so that it may be a pipe', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    const pipe = join(dir, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const writing = writeFile(pipe, 'from a pipe\n');
    const home = join(dir, 'home');
    await createIdentity(home, { AMESH_PASSPHRASE_FILE: pipe }, { friendlyName: 'server' });
    await writing;
    await openDevice(home, { AUTH_MESH_PASSPHRASE: 'from a pipe' });
    await rm(dir, { recursive: true, maxRetries: 20 });
  });

  it('with bytes that are not UTF-8 is refused: they would all be one passphrase', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    const path = join(dir, 'passphrase');
    await writeFile(path, Buffer.from([0xff, 0xfe, 0xfd]));
    await expect(backend.create({ dir, env: { AMESH_PASSPHRASE_FILE: path } })).rejects.toMatchObject({
      code: 'passphrase_required',
    });
    await rm(dir, { recursive: true, maxRetries: 20 });
  });
});

describe('what opens a key', () => {
  it.each([{}, { AUTH_MESH_PASSPHRASE: 'another' }])(
    'is known from the key, and not from what is set now: %j',
    async (env) => {
      const generated = await backend.create({ dir, env: {} });
      expect(await backend.describe({ dir, env }, generated.ref)).toContain(
        'generated and is stored next to it',
      );
      const own = await backend.create({ dir, env: { AUTH_MESH_PASSPHRASE: 'correct horse' } });
      const text = await backend.describe({ dir, env }, own.ref);
      const source = 'AUTH_MESH_PASSPHRASE' in env ? 'AUTH_MESH_PASSPHRASE' : 'a passphrase of yours';
      expect(text).toContain(`Encrypted file, opened by ${source}, which every command and program needs.`);
    },
  );

  it('is your own passphrase if another program has encrypted the key again', async () => {
    const ref = await createQuickly('mine');
    expect(await backend.describe({ dir, env: { AUTH_MESH_PASSPHRASE: 'mine' } }, ref)).toContain(
      'opened by AUTH_MESH_PASSPHRASE',
    );
  });

  it('cannot be known for a file that is not a key', async () => {
    const { ref } = await backend.create({ dir, env: {} });
    await writeFile(join(dir, ref), 'damaged');
    await expect(backend.describe({ dir, env: {} }, ref)).rejects.toMatchObject({
      code: 'identity_unreadable',
    });
  });
});

describe('a pipe', () => {
  it.each(['.passphrase', 'keys/'])('in place of %s keeps nobody waiting', async (name) => {
    const context = { dir, env: {} };
    const { ref } = await backend.create(context);
    const path = join(dir, name === 'keys/' ? ref : name);
    await rm(path);
    execFileSync('mkfifo', [path]);
    await expect(backend.open(ref, context)).rejects.toMatchObject({
      code: name === 'keys/' ? 'identity_unreadable' : 'passphrase_required',
    });
  });
});
