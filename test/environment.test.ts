import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRelay } from '@authmesh/relay';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, homeDir, readVariable } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createVerifierWithoutFiles } from '../src/machine/worker';
import { asNameless, NAMELESS } from './support/nameless-user';
import { isNonePassphrase, WRONG_FOLDERS, WRONG_VALUES } from './support/variables';

let root = '';
const cwd = process.cwd();
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-variables-'));
});
afterAll(async () => {
  process.chdir(cwd);
  await rm(root, { recursive: true, maxRetries: 20 });
});

/** The text of a compressed point: 33 bytes, of which the first is 2. */
const POINT = `Ag${'A'.repeat(42)}`;
/** A value that each variable of a server takes; what it is made of is wrong below. */
const VARIABLES: Readonly<Record<string, string>> = {
  AUTH_MESH_DIR: '/nowhere/amesh',
  AMESH_HOSTS: 'api.example.com',
  REDIS_URL: 'redis://:word@127.0.0.1:6379',
  AMESH_STORE_URL: 'redis://:word@127.0.0.1:6379',
  AMESH_OWNER_KEY: POINT,
  AMESH_MIN_REVISION: '7',
  AUTH_MESH_PASSPHRASE: 'correct horse',
  AMESH_PASSPHRASE_FILE: '/nowhere/passphrase',
  AMESH_FOLDER_OWNERS: '1000',
};
/** Nothing becomes weaker where these are empty. */
const MAY_BE_EMPTY = ['AUTH_MESH_DIR', 'AMESH_HOSTS', 'AMESH_FOLDER_OWNERS'];

describe.each(Object.entries(VARIABLES))('%s', (name, right) => {
  it.each(WRONG_VALUES)('is refused %s', (what, spoil, reason) => {
    if (name === 'AUTH_MESH_PASSPHRASE' && !isNonePassphrase(what)) return;
    const dir = join(root, 'absent');
    const env = { AUTH_MESH_DIR: dir, [name]: spoil(right) };
    const verify = () => createAmesh({ env }).verify();
    if (what === 'empty' && MAY_BE_EMPTY.includes(name)) return expect(verify).not.toThrow();
    expect(verify).toThrow(TypeError);
    expect(verify).toThrow(`${name} ${reason}`);
    expect(verify).not.toThrow(/word|horse/);
  });
});

describe.each(['AUTH_MESH_DIR', 'AMESH_PASSPHRASE_FILE'])('%s', (name) => {
  it.each(WRONG_FOLDERS)('is refused as %s', (value, reason) => {
    const env = { AUTH_MESH_DIR: root, [name]: value };
    expect(() => createAmesh({ env }).verify()).toThrow(`${name} ${reason}`);
  });
});

describe('createAmesh({ dir })', () => {
  it.each([
    ...WRONG_FOLDERS,
    ...WRONG_VALUES.filter(([what]) => what !== 'empty').map(
      ([, spoil, reason]) => [spoil('/x'), reason] as const,
    ),
  ])('is refused as %j', (dir, reason) => {
    expect(() => createAmesh({ dir })).toThrow(TypeError);
    expect(() => createAmesh({ dir })).toThrow(`dir ${reason}`);
  });

  it.each(['./~x', '/srv/my folder', '/srv/a"b', '/srv/#1', 'C:\\amesh', '/srv/a$b'])('takes %s', (dir) => {
    expect(() => createAmesh({ dir })).not.toThrow();
  });
});

it('makes no folder with a key in it, whatever the variable', async () => {
  process.chdir(root);
  for (const [name, value] of [
    ['AUTH_MESH_PASSPHRASE', 'horse\r'],
    ['AUTH_MESH_PASSPHRASE', ''],
    ['AMESH_PASSPHRASE_FILE', ''],
    ['AMESH_STORE_URL', ''],
  ] as const) {
    const made = createIdentity(join(root, 'made'), { [name]: value }, { friendlyName: 'a' });
    await expect(made).rejects.toThrow(`${name} `);
  }
  expect(await readdir(root)).toEqual([]);
});

it('a passphrase keeps its quotes and spaces', async () => {
  const dir = join(root, 'quoted');
  const env = { AUTH_MESH_DIR: dir, AUTH_MESH_PASSPHRASE: ' "correct horse" ' };
  await createIdentity(dir, env, { friendlyName: 'a' });
  expect((await createAmesh({ env }).identity()).friendlyName).toBe('a');
});

it('the error of a variable has its parts', () => {
  expect(() => readVariable({ A: '"a"' }, 'A', 'wrong')).toThrow(
    expect.objectContaining({
      detail: 'A has quotes around it, which only a shell removes.',
      fix: 'Leave them out.',
      message: 'A has quotes around it, which only a shell removes. Leave them out.',
    }),
  );
});

it('the file of a passphrase wins over a variable that is empty', () => {
  const env = { AUTH_MESH_DIR: root, AUTH_MESH_PASSPHRASE: '', AMESH_PASSPHRASE_FILE: '/run/secrets/p' };
  expect(() => createAmesh({ env }).verify()).not.toThrow();
});

it('AMESH_BOOTSTRAP_TOKEN: a token with quotes around it gets its own message', async () => {
  const env = { AUTH_MESH_DIR: join(root, 'token'), AMESH_BOOTSTRAP_TOKEN: '"eyJh.eyJi.c2ln"' };
  await expect(createAmesh({ env }).bootstrapIfNeeded()).rejects.toMatchObject({
    code: 'token_malformed',
    detail: 'This is not an amesh bootstrap token. It has quotes around it, which only a shell removes.',
    fix: 'Leave them out.',
  });
});

describe('without a home folder', () => {
  const home = process.env.HOME;
  afterEach(() => {
    if (home !== undefined) process.env.HOME = home;
  });
  const missing = (detail: string) => ({ code: 'identity_unreadable', detail, fix: 'Set AUTH_MESH_DIR.' });

  it.skipIf(process.geteuid?.() !== 0)(
    'is refused if HOME is not set, and the user has no name',
    async () => {
      delete process.env.HOME;
      const detail = `There is no home folder: HOME is not set, and this user (uid ${NAMELESS}) is not in /etc/passwd.`;
      expect(() => asNameless(() => homeDir(undefined, {}))).toThrow(
        expect.objectContaining(missing(detail)),
      );
      const identity = asNameless(() => createAmesh({ env: {} }).identity());
      await expect(identity).rejects.toMatchObject(missing(detail));
      expect(asNameless(() => homeDir(undefined, { AUTH_MESH_DIR: '/nowhere/amesh' }))).toBe(
        '/nowhere/amesh',
      );
    },
  );

  it.each([
    ['', 'HOME is empty'],
    ['home', 'HOME is not an absolute path'],
  ])('is refused if HOME is %j', (value, why) => {
    process.env.HOME = value;
    expect(() => homeDir(undefined, {})).toThrow(
      expect.objectContaining(missing(`There is no home folder: ${why}.`)),
    );
  });
});

describe('on Workers', () => {
  const verifier = (env: Record<string, unknown>) => () =>
    createVerifierWithoutFiles({}, { AMESH_ALLOW_LIST: '{}', AMESH_OWNER_KEY: POINT, ...env });

  it('right values are accepted', () => {
    expect(verifier({ AMESH_HOSTS: 'a.example, b.example' })).not.toThrow();
  });

  it.each([
    ['AMESH_ALLOW_LIST', ''],
    ['AMESH_ALLOW_LIST', `'{}'`],
    ['AMESH_ALLOW_LIST', '~/allow_list.json'],
    ['AMESH_OWNER_KEY', ''],
    ['AMESH_OWNER_KEY', `"${POINT}"`],
    ['AMESH_OWNER_KEY', `${POINT},`],
    ['AMESH_OWNER_KEY', `${POINT},${POINT}`],
    ['AMESH_MIN_REVISION', ''],
    ['AMESH_MIN_REVISION', '0'],
    ['AMESH_MIN_REVISION', 'seven'],
    ['AMESH_DEVICE_ID', ''],
    ['AMESH_DEVICE_ID', '"am_JcilCdVPFver17J0"'],
    ['AMESH_DEVICE_ID', 'am_JcilCdVPFver17J0\r'],
    ['AMESH_HOSTS', '"a.example"'],
    ['AMESH_HOSTS', 'a.example\r'],
  ])('%s=%j is refused', (name, value) => {
    expect(verifier({ [name]: value })).toThrow(TypeError);
    expect(verifier({ [name]: value })).toThrow(name);
  });
});

describe('a relay', () => {
  it.each(
    Object.entries({
      PORT: '0',
      HOST: '127.0.0.1',
      AMESH_TRUSTED_PROXIES: '127.0.0.1',
      AMESH_RELAY_LIMITS: 'sessions=500',
      REDIS_URL: 'redis://:word@127.0.0.1:6379',
    }).flatMap(([name, right]) =>
      WRONG_VALUES.filter(([what]) => what !== 'empty').map(
        ([what, spoil, reason]) => [name, what, spoil(right), reason] as const,
      ),
    ),
  )('%s is refused %s', async (name, _what, value, reason) => {
    const started = startRelay({ PORT: '0', HOST: '127.0.0.1', [name]: value });
    await expect(started).rejects.toThrow(TypeError);
    await expect(startRelay({ PORT: '0', HOST: '127.0.0.1', [name]: value })).rejects.toThrow(
      `${name} ${reason}`,
    );
  });

  it.each(['~', '~/x'])('all but HOST are refused as %s', async (value) => {
    for (const name of ['PORT', 'AMESH_TRUSTED_PROXIES', 'AMESH_RELAY_LIMITS', 'REDIS_URL'])
      await expect(startRelay({ HOST: '127.0.0.1', PORT: '0', [name]: value })).rejects.toThrow(name);
  });
});
