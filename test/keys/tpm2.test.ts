import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type Env, findBackend, openDevice } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPrimary, HIERARCHY } from '../../src/keys/tpm2/commands';
import { parseAddress, type TpmAddress } from '../../src/keys/tpm2/connection';
import { fromKeyFile, toKeyFile } from '../../src/keys/tpm2/key-file';
import { STORAGE_PRIMARY } from '../../src/keys/tpm2/public-area';
import { SilentTpmError, Tpm } from '../../src/keys/tpm2/tpm';
import { freePort } from '../support/free-port';
import { keyBackendContract } from '../support/key-backend-contract';
import { slowTpm } from '../support/slow-tpm';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';
import { verifies } from '../support/verifies';

const backend = findBackend('tpm2');
const MESSAGE = new TextEncoder().encode('what is signed');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

const withCode = (code: string, detail: string) => ({ code, detail: expect.stringContaining(detail) });

describeWithTpm('with a TPM', () => {
  let tpm: Swtpm;
  let env: Env;
  beforeAll(async () => {
    tpm = await startSwtpm();
    env = { AMESH_TPM: tpm.address };
  });
  afterAll(() => tpm?.remove());

  describeContract('without a PIN', {});
  describeContract('with a PIN', { AMESH_PIN: '482916-secret' });

  function describeContract(what: string, more: Env): void {
    describe(what, () => {
      keyBackendContract(backend, async () => {
        const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
        return {
          context: { dir, env: { ...env, ...more } },
          secrets: Object.values(more) as string[],
          remove: () => rm(dir, { recursive: true, maxRetries: 20 }),
        };
      });
    });
  }

  it('keeps the private key in the TPM: no other TPM can open the file', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env });
    expect(
      await verifies(MESSAGE, publicKey, [await (await backend.open(ref, { dir: root, env })).sign(MESSAGE)]),
    ).toBe(true);
    const other = await startSwtpm();
    try {
      await expect(backend.open(ref, { dir: root, env: { AMESH_TPM: other.address } })).rejects.toMatchObject(
        withCode('key_lost', 'The key belongs to another TPM'),
      );
      expect(await backend.probe({ dir: root, env: { AMESH_TPM: other.address } }, ref)).toMatchObject({
        available: false,
        reason: expect.stringContaining('The key belongs to another TPM'),
      });
    } finally {
      await other.remove();
    }
  });

  it('does not blame the TPM for a folder in which the key file cannot be written', async () => {
    await symlink('/proc', join(root, 'keys'));
    const error = await backend.create({ dir: root, env }).catch((thrown) => thrown);
    expect(error).toMatchObject({ syscall: 'open' });
    expect(String(error)).not.toContain('TPM');
  });

  it('opens a key again after the machine was restarted', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env });
    const signer = await backend.open(ref, { dir: root, env });
    await tpm.restart();
    expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
    const again = await backend.open(ref, { dir: root, env });
    expect(await verifies(MESSAGE, publicKey, [await again.sign(MESSAGE)])).toBe(true);
  });

  it('makes 500 signatures at once, and leaves nothing in the TPM', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env });
    const signers = await Promise.all([
      backend.open(ref, { dir: root, env }),
      backend.open(ref, { dir: root, env }),
    ]);
    const signatures = await Promise.all(
      Array.from({ length: 500 }, (_, i) => (signers[i % 2] as (typeof signers)[0]).sign(MESSAGE)),
    );
    expect(await verifies(MESSAGE, publicKey, signatures)).toBe(true);
    expect((await tpm.run('tpm2_getcap handles-transient')).trim()).toBe('');
    expect((await tpm.run('tpm2_getcap handles-loaded-session')).trim()).toBe('');
  });

  it('says that the TPM was reset in between, and signs at the next request', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env });
    const signer = await backend.open(ref, { dir: root, env });
    const signing = Promise.allSettled(Array.from({ length: 200 }, () => signer.sign(MESSAGE)));
    await tpm.restart();
    for (const each of await signing) {
      if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'key_backend_unavailable' });
      else expect(await verifies(MESSAGE, publicKey, [each.value])).toBe(true);
    }
    expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
  });

  it('signs if the TPM is busy for a moment, and repeats the same command', async () => {
    const busy = await slowTpm(tpm.port);
    try {
      const context = { dir: root, env: { AMESH_TPM: busy.address } };
      const { ref, publicKey } = await backend.create(context);
      const signer = await backend.open(ref, context);
      for (const refusals of [[0x908], [0x90a, 0x90a, 0x90a], [0x920, 0x920], [0x922, 0x920, 0x922]]) {
        busy.refusals = refusals;
        expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
        expect(refusals).toEqual([]);
      }
    } finally {
      await busy.close();
    }
  });

  it('does not report a key as lost if somebody has removed its parent from the TPM', async () => {
    const own = await startSwtpm();
    const context = { dir: root, env: { AMESH_TPM: own.address } };
    const primary = join(root, 'primary.ctx');
    const createPrimary = (password: string) =>
      own.run(`tpm2_createprimary -Q -C o ${password}-G ecc256:aes128cfb -g sha256 -c ${primary}`);
    try {
      await createPrimary('');
      await own.run(`tpm2_evictcontrol -Q -C o -c ${primary} 0x81000001`);
      await own.run('tpm2_changeauth -Q -c owner password');
      const { ref } = await backend.create(context);
      await own.run('tpm2_evictcontrol -Q -C o -P password -c 0x81000001');
      await expect(backend.open(ref, context)).rejects.toMatchObject({
        code: 'key_backend_unavailable',
        detail: 'The TPM has no storage root key at 0x81000001, under which it made the key.',
        fix: expect.stringContaining('tpm2_evictcontrol'),
      });
      await createPrimary('-P password ');
      await own.run(`tpm2_evictcontrol -Q -C o -P password -c ${primary} 0x81000001`);
      await backend.open(ref, context);
    } finally {
      await own.remove();
    }
  });

  it('says that the TPM is full of the keys of other programs', async () => {
    const { ref } = await backend.create({ dir: root, env });
    await Tpm.at(parseAddress(tpm.address) as TpmAddress)
      .run(async (connection) => {
        for (;;) await createPrimary(connection, HIERARCHY.owner, STORAGE_PRIMARY);
      })
      .catch(() => {});
    await expect(backend.open(ref, { dir: root, env })).rejects.toMatchObject(
      withCode('key_backend_unavailable', 'The TPM is full: other programs'),
    );
    await tpm.run('tpm2_flushcontext --transient-object');
    await backend.open(ref, { dir: root, env });
  });

  it('distinguishes a wrong PIN from a missing one, and says until when the TPM is locked', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env: { ...env, AMESH_PIN: 'right' } });
    const open = (pin: Env) => backend.open(ref, { dir: root, env: { ...env, ...pin } });
    await expect(open({})).rejects.toMatchObject(withCode('pin_required', 'has a PIN'));
    const wrong = await open({ AMESH_PIN: 'wrong' });
    const error = await Promise.resolve(wrong.sign(MESSAGE)).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'pin_wrong' });
    expect(`${error.stack}${JSON.stringify(error)}`).not.toContain('"wrong"');
    for (let i = 0; i < 5; i++)
      await expect((await open({ AMESH_PIN: 'wrong' })).sign(MESSAGE)).rejects.toBeDefined();
    await expect((await open({ AMESH_PIN: 'right' })).sign(MESSAGE)).rejects.toMatchObject({
      code: 'key_locked',
      fix: expect.stringMatching(/every \d+ minutes/),
    });
    await tpm.run('tpm2_dictionarylockout --clear-lockout');
    expect(
      await verifies(MESSAGE, publicKey, [await (await open({ AMESH_PIN: 'right' })).sign(MESSAGE)]),
    ).toBe(true);
  });

  it('tries a wrong PIN once in a process, so that its requests do not lock the TPM', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env: { ...env, AMESH_PIN: 'right' } });
    const open = (pin: string) => backend.open(ref, { dir: root, env: { ...env, AMESH_PIN: pin } });
    const wrong = await open('wrong');
    await Promise.allSettled(Array.from({ length: 40 }, () => wrong.sign(MESSAGE)));
    for (let i = 0; i < 40; i++)
      await expect(wrong.sign(MESSAGE)).rejects.toMatchObject({ code: 'pin_wrong' });
    expect(await verifies(MESSAGE, publicKey, [await (await open('right')).sign(MESSAGE)])).toBe(true);
    await tpm.run('tpm2_dictionarylockout --clear-lockout');
  });

  it('gives other keys their turn while one signs without a pause', async () => {
    const { ref } = await backend.create({ dir: root, env });
    const [busy, other] = [
      await backend.open(ref, { dir: root, env }),
      await backend.open(ref, { dir: root, env }),
    ];
    let count = 0;
    let isOver = false;
    const signWithoutPause = async () => {
      for (; !isOver && count < 300; count++) await busy.sign(MESSAGE);
    };
    const signing = [signWithoutPause(), signWithoutPause()];
    await other.sign(MESSAGE);
    isOver = true;
    await Promise.all(signing);
    expect(count).toBeLessThan(150);
  });

  it('takes the PIN from a file or a credential, without its line end', async () => {
    await writeFile(join(root, 'amesh-pin'), 'from a file\n');
    const { ref } = await backend.create({ dir: root, env: { ...env, AMESH_PIN: 'from a file' } });
    for (const pin of [{ AMESH_PIN_FILE: join(root, 'amesh-pin') }, { CREDENTIALS_DIRECTORY: root }]) {
      const signer = await backend.open(ref, { dir: root, env: { ...env, ...pin } });
      expect(await signer.sign(MESSAGE)).toHaveLength(64);
    }
  });

  it('describes a key by its file, and not by the PIN that is set now', async () => {
    const withoutPin = await backend.create({ dir: root, env });
    const withPin = await backend.create({ dir: root, env: { ...env, AMESH_PIN: 'right' } });
    for (const more of [{}, { AMESH_PIN: '9' }]) {
      const context = { dir: root, env: { ...env, ...more } };
      expect(await backend.describe(context, withoutPin.ref)).not.toContain('PIN');
      expect(await backend.describe(context, withPin.ref)).toContain('if it knows the PIN');
    }
    await writeFile(join(root, withPin.ref), 'damaged');
    await expect(backend.describe({ dir: root, env }, withPin.ref)).rejects.toMatchObject({
      code: 'identity_unreadable',
    });
  });

  it('reads the PIN of a new key once, so that its file may be a pipe', async () => {
    const pipe = join(root, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const home = join(root, 'home');
    const writing = writeFile(pipe, 'from a pipe\n');
    const withPipe = { ...env, AMESH_PIN_FILE: pipe };
    const { key } = await createIdentity(home, withPipe, { friendlyName: 'server', backend: 'tpm2' });
    await writing;
    expect(await backend.describe({ dir: home, env: withPipe }, key.ref)).toContain('knows the PIN');
    const { signer } = await openDevice(home, { ...env, AMESH_PIN: 'from a pipe' });
    expect(await signer.sign(MESSAGE)).toHaveLength(64);
  });

  it('has a file that openssl reads, and a key that tpm2-tools read', async () => {
    const { ref, publicKey } = await backend.create({ dir: root, env });

    const der = await tpm.run(`openssl pkey -provider tpm2 -provider base -in ${join(root, ref)} -pubout`);
    const point = execFileSync('openssl', ['ec', '-pubin', '-conv_form', 'compressed', '-outform', 'DER'], {
      input: der,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    expect(point.subarray(-33)).toEqual(Buffer.from(publicKey));

    const { publicArea, privateArea } = fromKeyFile(await readFile(join(root, ref), 'utf8')) as never as {
      publicArea: Uint8Array;
      privateArea: Uint8Array;
    };
    const withSize = (bytes: Uint8Array) => Buffer.concat([Uint8Array.of(0, bytes.length), bytes]);
    const at = (name: string) => join(root, name);
    await writeFile(at('key.pub'), withSize(publicArea));
    await writeFile(at('key.priv'), withSize(privateArea));
    await writeFile(at('message'), MESSAGE);
    await tpm.run(
      `tpm2_createprimary -Q -C o -G ecc256:aes128cfb -g sha256 -c ${at('primary.ctx')} -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda`,
    );
    await tpm.run(
      `tpm2_load -Q -C ${at('primary.ctx')} -u ${at('key.pub')} -r ${at('key.priv')} -c ${at('key.ctx')}`,
    );
    await tpm.run(
      `tpm2_sign -Q -c ${at('key.ctx')} -g sha256 -f plain -o ${at('signature')} ${at('message')}`,
    );
    const [, r, s] = await readDer(at('signature'));
    expect(await verifies(MESSAGE, publicKey, [Buffer.concat([r as Uint8Array, s as Uint8Array])])).toBe(
      true,
    );
    expect(await tpm.run(`tpm2_print -t TPM2B_PUBLIC ${at('key.pub')}`)).toContain(
      'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign',
    );
  });

  it('uses a storage root key in place of a primary if the owner hierarchy has a password', async () => {
    const own = await startSwtpm();
    const context = { dir: root, env: { AMESH_TPM: own.address } };
    try {
      await own.run(
        `tpm2_createprimary -Q -C o -G ecc256:aes128cfb -g sha256 -c ${join(root, 'primary.ctx')}`,
      );
      await own.run('tpm2_changeauth -Q -c owner password');
      await expect(backend.create(context)).rejects.toMatchObject(
        withCode('key_backend_unavailable', 'The owner hierarchy of the TPM has a password'),
      );
      expect(await backend.probe(context)).toMatchObject({
        available: false,
        reason: expect.stringContaining('password'),
      });
      await own.run(
        `tpm2_createprimary -Q -C o -P password -G ecc256:aes128cfb -g sha256 -c ${join(root, 'primary.ctx')}`,
      );
      await own.run(`tpm2_evictcontrol -Q -C o -P password -c ${join(root, 'primary.ctx')} 0x81000001`);
      const { ref, publicKey } = await backend.create(context);
      expect(
        await verifies(MESSAGE, publicKey, [await (await backend.open(ref, context)).sign(MESSAGE)]),
      ).toBe(true);
    } finally {
      await own.remove();
    }
  });

  it('says that a cleared TPM has lost the key, before and after a server has opened it', async () => {
    const own = await startSwtpm();
    const context = { dir: root, env: { AMESH_TPM: own.address } };
    try {
      const { ref } = await backend.create(context);
      const signer = await backend.open(ref, context);
      await own.run('tpm2_clear -Q');
      const cleared = withCode('key_lost', 'The TPM was cleared');
      await expect(signer.sign(MESSAGE)).rejects.toMatchObject(cleared);
      await expect(backend.open(ref, context)).rejects.toMatchObject(cleared);
    } finally {
      await own.remove();
    }
  });

  it('is the key of an identity, whose folder is worthless elsewhere', async () => {
    const dir = join(root, 'home');
    const identity = await createIdentity(dir, env, { friendlyName: 'server', backend: 'tpm2' });
    expect(identity.key).toMatchObject({ backend: 'tpm2' });
    expect((await readdir(dir)).sort()).toEqual(['allow_list.json', 'identity.json', 'keys', 'seen.json']);
    const device = await openDevice(dir, env);
    expect(await verifies(MESSAGE, device.signer.publicKey, [await device.signer.sign(MESSAGE)])).toBe(true);
    await cp(dir, join(root, 'copy'), { recursive: true });
    await expect(openDevice(join(root, 'copy'), {})).rejects.toMatchObject({
      code: 'key_backend_unavailable',
    });
  });
});

describe('without a TPM', () => {
  it('says that there is none', async () => {
    const env = { AMESH_TPM: `device:${join(root, 'tpmrm0')}` };
    expect(await backend.probe({ dir: root, env })).toEqual({
      available: false,
      hardware: true,
      reason: `This machine has no TPM 2.0 at ${join(root, 'tpmrm0')}.`,
      advice: { fix: expect.any(String), command: expect.arrayContaining(['encrypted-file']) },
    });
    await expect(
      createIdentity(join(root, 'home'), env, { friendlyName: 'x', backend: 'tpm2' }),
    ).rejects.toMatchObject(withCode('key_backend_unavailable', 'has no TPM 2.0'));
  });

  it.each([
    ['is not UTF-8', Buffer.from([0xff, 0xfe]), 'pin_required'],
    ['is empty', Buffer.from('\n'), 'pin_required'],
    ['is absent', null, 'pin_required'],
    ['is too long', Buffer.alloc(33, 'x'), 'pin_wrong'],
    ['ends with a zero byte', Buffer.from('x\0'), 'pin_wrong'],
  ])('says what to correct if the file with the PIN %s', async (_, bytes, code) => {
    if (bytes !== null) await writeFile(join(root, 'amesh-pin'), bytes);
    const create = (env: Env) =>
      backend.create({ dir: root, env: { ...env, AMESH_PIN: 'which is not used' } });
    await expect(create({ AMESH_PIN_FILE: join(root, 'amesh-pin') })).rejects.toMatchObject({
      code,
      detail: expect.stringMatching(/from the file of AMESH_PIN_FILE|^A PIN /),
      fix: 'Correct that file, or unset AMESH_PIN_FILE.',
    });
    if (bytes === null) return; // then there is no credential
    await expect(create({ CREDENTIALS_DIRECTORY: root })).rejects.toMatchObject({
      code,
      detail: expect.stringMatching(/from the credential amesh-pin|^A PIN /),
      fix: 'Correct the credential amesh-pin, or remove it.',
    });
  });

  it('reads no PIN to describe a key, so that a pipe still has it afterwards', async () => {
    const pipe = join(root, 'pipe');
    execFileSync('mkfifo', [pipe]); // where reading would wait for ever, since nobody writes
    expect(await backend.describe({ dir: root, env: { AMESH_PIN_FILE: pipe } })).toContain('knows the PIN');
    for (const [env, name] of [
      [{ AMESH_PIN: '' }, 'AMESH_PIN is empty'],
      [{ AMESH_PIN_FILE: '' }, 'AMESH_PIN_FILE is empty'],
      [{ AMESH_PIN_FILE: '~/pin' }, 'AMESH_PIN_FILE begins with ~'],
    ] as const)
      await expect(backend.describe({ dir: root, env })).rejects.toThrow(name);
  });

  it('says that nobody answers', async () => {
    const port = await freePort();
    const { reason } = await backend.probe({ dir: root, env: { AMESH_TPM: `tcp:127.0.0.1:${port}` } });
    expect(reason).toBe(`No TPM responds at tcp:127.0.0.1:${port} (ECONNREFUSED).`);
  });

  it.each([
    '',
    ' ',
    '/dev/tpmrm0',
    'device:tpm0',
    'tcp:127.0.0.1',
    'tcp:127.0.0.1:0',
    'tcp:127.0.0.1:70000',
    'swtpm',
  ])('refuses the address %j', async (address) => {
    await expect(backend.probe({ dir: root, env: { AMESH_TPM: address } })).rejects.toThrow('AMESH_TPM');
  });

  it.each([
    ['that is silent', (socket: Socket) => socket.resume(), SilentTpmError],
    [
      'that answers with garbage',
      (socket: Socket) => socket.on('data', () => socket.write('garbage')),
      RangeError,
    ],
    ['that hangs up', (socket: Socket) => socket.on('data', () => socket.destroy()), Error],
    [
      'that names another length',
      (socket: Socket) => socket.on('data', () => socket.write(Buffer.from('8001000000080000', 'hex'))),
      RangeError,
    ],
  ] as const)('does not wait for a TPM %s', async (_, serve, kind) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      serve(socket);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const tpm = Tpm.at({ kind: 'tcp', host: '127.0.0.1', port }, 200);
    const ask = () => tpm.run((connection) => createPrimary(connection, HIERARCHY.owner, STORAGE_PRIMARY));
    await expect(ask()).rejects.toThrow(kind);
    await expect(ask()).rejects.toThrow(kind);
    // An open connection would keep the process alive.
    await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
    server.close();
  });

  it.each([
    ['a file', (path: string) => writeFile(path, 'what is in the file')],
    ['a folder', (path: string) => mkdir(path)],
    ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
    ['a link to a file', (path: string) => symlink(join(root, 'other'), path)],
  ])('does not use %s as a TPM, and writes nothing to it', async (_, make) => {
    await writeFile(join(root, 'other'), 'what is in the file');
    const path = join(root, 'device');
    await make(path);
    const context = { dir: root, env: { AMESH_TPM: `device:${path}` } };
    expect(await backend.probe(context)).toMatchObject({
      available: false,
      reason: `${path} is not a character device.`,
      advice: { fix: expect.stringContaining('AMESH_TPM') },
    });
    await expect(backend.create(context)).rejects.toMatchObject({ code: 'key_backend_unavailable' });
    for (const name of await readdir(root))
      if ((await stat(join(root, name))).isFile())
        expect(await readFile(join(root, name), 'utf8')).toBe('what is in the file');
  });

  it.each([
    ['nothing', ''],
    ['another kind of key', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'],
    [
      'half a key',
      '-----BEGIN TSS2 PRIVATE KEY-----\nMIHyBgZngQUKAQOgAwEB/wIE\n-----END TSS2 PRIVATE KEY-----\n',
    ],
  ])('refuses a key file with %s', async (_, text) => {
    await createIdentity(join(root, 'home'), {}, { friendlyName: 'x' }); // for its folder of keys
    await writeFile(join(root, 'home', 'keys', 'x.tss2.pem'), text);
    await expect(backend.open('keys/x.tss2.pem', { dir: join(root, 'home'), env: {} })).rejects.toMatchObject(
      {
        code: 'identity_unreadable',
      },
    );
  });

  it('reads the key files that it writes, and no malformed ones', () => {
    const key = {
      parent: 0x8100_0001,
      isWithoutPin: false,
      publicArea: new Uint8Array(90).fill(1),
      privateArea: new Uint8Array(200).fill(2),
    };
    const text = toKeyFile(key);
    expect(fromKeyFile(text)).toEqual(key);
    const der = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
    const wrap = (bytes: Buffer) =>
      `-----BEGIN TSS2 PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END TSS2 PRIVATE KEY-----\n`;
    for (let length = 0; length < der.length; length++)
      expect(fromKeyFile(wrap(der.subarray(0, length)))).toBeNull();
    expect(fromKeyFile(wrap(Buffer.concat([der, Buffer.of(0)])))).toBeNull();
  });
});

/** The two integers of a DER signature, each 32 bytes. */
async function readDer(path: string): Promise<readonly Uint8Array[]> {
  const bytes = await readFile(path);
  if (bytes.length === 64) return [bytes, bytes.subarray(0, 32), bytes.subarray(32)];
  const rLength = bytes[3] as number;
  const toElement = (integer: Buffer) => {
    const element = Buffer.alloc(32);
    const rest = integer.subarray(Math.max(0, integer.length - 32));
    rest.copy(element, 32 - rest.length);
    return element;
  };
  const r = bytes.subarray(4, 4 + rLength);
  return [bytes, toElement(r), toElement(bytes.subarray(6 + rLength))];
}
