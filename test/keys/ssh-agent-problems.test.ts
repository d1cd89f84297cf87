import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, findBackend } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { u32 } from '../../src/keys/slow/bytes';
import { Agent, findAgent } from '../../src/keys/ssh-agent/agent';
import { string } from '../../src/keys/ssh-agent/bytes';
import { AgentFailure, readIdentities, readSignature } from '../../src/keys/ssh-agent/messages';
import { explain } from '../../src/keys/ssh-agent/problems';
import { fingerprintOf } from '../../src/keys/ssh-agent/public-key';
import { fromReference } from '../../src/keys/ssh-agent/reference';
import { times } from '../support/full';
import { asNameless, NAMELESS } from '../support/nameless-user';

const backend = findBackend('ssh-agent');
const MESSAGE = new TextEncoder().encode('what is signed');
const TYPE = 'ecdsa-sha2-nistp256';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

const withCode = (code: string, detail: string) => ({ code, detail: expect.stringContaining(detail) });
const concat = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);
const frame = (...parts: readonly Uint8Array[]) => concat(string(concat(...parts)));
const byte = (value: number) => Uint8Array.of(value);

const FAILURE = frame(byte(5));

function makeKey() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const point = concat(byte(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url'));
  return { privateKey, blob: concat(string(TYPE), string('nistp256'), string(point)) };
}
const own = makeKey();
const other = makeKey();
const OFF_CURVE = concat(own.blob.subarray(0, -1), byte((own.blob.at(-1) as number) ^ 1));

const identities = (...blobs: readonly Uint8Array[]) =>
  frame(byte(12), u32(blobs.length), ...blobs.flatMap((blob) => [string(blob), string('a comment')]));

/** The two numbers of a signature, as `mpint`. */
function numbersOf(message: Uint8Array, privateKey: KeyObject): [Buffer, Buffer] {
  const raw = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return [toMpint(raw.subarray(0, 32)), toMpint(raw.subarray(32))];
}
function toMpint(bytes: Buffer): Buffer {
  const first = bytes.findIndex((value) => value !== 0);
  const rest = bytes.subarray(first);
  return (rest[0] as number) > 0x7f ? concat(byte(0), rest) : rest;
}
const signature = (r: Uint8Array, s: Uint8Array, type = TYPE) =>
  frame(byte(14), string(concat(string(type), string(concat(string(r), string(s))))));
const signed = (request: Uint8Array, { privateKey } = own) =>
  signature(...numbersOf(messageOf(request), privateKey));
/** The message in a request to sign. */
function messageOf(request: Uint8Array): Uint8Array {
  const bytes = Buffer.from(request);
  const at = 5 + bytes.readUInt32BE(1);
  return bytes.subarray(at + 4, at + 4 + bytes.readUInt32BE(at));
}

interface Hostile {
  list?(socket: Socket): Uint8Array;
  sign?(request: Uint8Array, socket: Socket): Uint8Array;
}

const servers: { close(): Promise<void> }[] = [];

/** An agent with one key, in which something is wrong. */
async function serve({ list = () => identities(own.blob), sign = (request) => signed(request) }: Hostile) {
  const path = join(root, `${servers.length}.sock`);
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0)) {
        const request = received.subarray(4, 4 + received.readUInt32BE(0));
        received = received.subarray(4 + request.length);
        const answer = request[0] === 11 ? list(socket) : sign(request, socket);
        if (!socket.destroyed) socket.write(answer);
      }
    });
  }).listen(path);
  await new Promise((resolve) => server.once('listening', resolve));
  servers.push({
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return { context: { dir: root, env: { SSH_AUTH_SOCK: path } }, path, sockets };
}

describe('an agent that answers wrongly', () => {
  it.each<[string, () => Uint8Array, string]>([
    ['with a frame that is too long', () => u32(256 * 1024 + 1), 'a message of 262145 bytes'],
    ['with a frame of 4 GiB', () => u32(0xffff_ffff), 'a message of 4294967295 bytes'],
    ['with an empty frame', () => u32(0), 'a message of 0 bytes'],
    ['with text', () => Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), 'a message of '],
    ['with another message', () => frame(byte(6)), 'a message of type 6'],
    ['with the failure of an extension', () => frame(byte(28)), 'a message of type 28'],
    ['with a failure that says more', () => frame(byte(5), byte(0)), 'a message of type 5'],
    ['with two answers', () => concat(identities(own.blob), FAILURE), 'more than one response'],
    ['with 4,294,967,295 keys', () => frame(byte(12), u32(0xffff_ffff)), 'too many keys'],
    [
      'with one key less than it says',
      () => frame(byte(12), u32(2), string(own.blob), string('')),
      'too few bytes',
    ],
    [
      'with one key more than it says',
      () => frame(byte(12), u32(0), string(own.blob), string('')),
      'too many bytes',
    ],
    [
      'with a key that is longer than the message',
      () => frame(byte(12), u32(1), u32(0xffff)),
      'too few bytes',
    ],
  ])('%s lists no keys', async (_, list, detail) => {
    const { context } = await serve({ list });
    const wrong = withCode('key_backend_unavailable', `is not a working SSH agent: it sent ${detail}`);
    await expect(backend.create(context)).rejects.toMatchObject(wrong);
    expect(await backend.probe(context)).toMatchObject({ available: false, reason: wrong.detail });
  });

  it.each<[string, Uint8Array]>([
    ['another curve', concat(string(TYPE), string('nistp384'), string(Buffer.alloc(65, 4)))],
    ['a compressed point', concat(string(TYPE), string('nistp256'), string(Buffer.alloc(33, 2)))],
    ['more bytes', concat(own.blob, byte(0))],
    ['fewer bytes', own.blob.subarray(0, -1)],
    ['a point that is not on the curve', OFF_CURVE],
    ['nothing', Buffer.alloc(0)],
    ['a security key', concat(string(`sk-${TYPE}@openssh.com`), own.blob.subarray(4 + TYPE.length))],
    ['a certificate', concat(string(`${TYPE}-cert-v01@openssh.com`), own.blob.subarray(4 + TYPE.length))],
  ])('does not use %s as a key, and uses the one next to it', async (_, blob) => {
    const alone = await serve({ list: () => identities(blob) });
    await expect(backend.create(alone.context)).rejects.toMatchObject({ code: 'key_not_chosen' });
    const beside = await serve({ list: () => identities(blob, own.blob) });
    expect((await backend.create(beside.context)).publicKey).toHaveLength(33);
  });

  const zero = Buffer.alloc(1);
  const [r, s] = numbersOf(MESSAGE, own.privateKey);
  it.each<[string, (request: Uint8Array) => Uint8Array, string]>([
    ['a signature of another key', (request) => signed(request, other), 'not one of this key'],
    ['a signature of another message', () => signature(r, s), 'not one of this key'],
    ['a negative r', () => signature(Buffer.alloc(32, 0x80), s), 'a negative number'],
    ['a negative s', () => signature(r, Buffer.alloc(32, 0xff)), 'a negative number'],
    ['a zero r', () => signature(zero, s), 'a zero'],
    ['a zero s', () => signature(r, Buffer.alloc(33)), 'a zero'],
    ['an empty r', () => signature(Buffer.alloc(0), s), 'a number of another length'],
    ['an s of 264 bits', () => signature(r, Buffer.alloc(33, 1)), 'a number that is too large'],
    [
      'an s of 272 bits',
      () => signature(r, concat(zero, zero, Buffer.alloc(32, 1))),
      'a number of another length',
    ],
    [
      'an s of 256 bits and more than n',
      () => signature(r, concat(zero, Buffer.alloc(32, 0xff))),
      'not one of this key',
    ],
    ['another algorithm', () => signature(r, s, 'ssh-ed25519'), 'a signature of another kind'],
    [
      'only 64 bytes',
      () => frame(byte(14), string(concat(string(TYPE), string(Buffer.alloc(64, 1))))),
      'too few bytes',
    ],
    [
      'a third number',
      () => frame(byte(14), string(concat(string(TYPE), string(concat(string(r), string(s), string(s)))))),
      'too many bytes',
    ],
    [
      'bytes after the signature',
      () => frame(byte(14), string(concat(string(TYPE), string(concat(string(r), string(s))), byte(0)))),
      'too many bytes',
    ],
    [
      'bytes after the answer',
      () => frame(byte(14), string(concat(string(TYPE), string(concat(string(r), string(s))))), byte(0)),
      'too many bytes',
    ],
    ['a list of keys', () => identities(own.blob), 'a message of type 12'],
  ])('signs nothing with %s', async (_, sign, detail) => {
    let isGood = true;
    const { context } = await serve({ sign: (request) => (isGood ? signed(request) : sign(request)) });
    const { ref } = await backend.create(context);
    const signer = await backend.open(ref, context);
    isGood = false;
    const wrong = withCode('key_backend_unavailable', detail);
    await expect(signer.sign(MESSAGE.slice(1))).rejects.toMatchObject(wrong);
    await expect(backend.create(context)).rejects.toMatchObject(wrong);
    isGood = true;
    expect(await signer.sign(MESSAGE)).toHaveLength(64);
  });

  it('is understood if it sends zeros that need not be there, or one byte at a time', async () => {
    const pad = (mpint: Buffer) => concat(Buffer.alloc(33 - mpint.length), mpint);
    const { context } = await serve({
      sign: (request, socket) => {
        const [r, s] = numbersOf(messageOf(request), own.privateKey);
        const answer = signature(pad(r), pad(s));
        for (const value of answer.subarray(0, -1)) socket.write(byte(value));
        return answer.subarray(-1);
      },
    });
    const { ref, publicKey } = await backend.create(context);
    const key = await nodeCrypto.importPublicKey(publicKey);
    expect(await key.verify(await (await backend.open(ref, context)).sign(MESSAGE), MESSAGE)).toBe(true);
  });

  it.each<[string, (socket: Socket) => Uint8Array]>([
    ['immediately', (socket) => socket.destroy() && Buffer.alloc(0)],
    [
      'in the middle of its answer',
      (socket) => {
        socket.end(identities(own.blob).subarray(0, 40));
        return Buffer.alloc(0);
      },
    ],
  ])('that closes the connection %s is reported as such', async (_, answer) => {
    let isGood = true;
    const closing = { list: (socket: Socket) => (isGood ? identities(own.blob) : answer(socket)) };
    const { context, path } = await serve({
      ...closing,
      sign: (request, socket) => (isGood ? signed(request) : answer(socket)),
    });
    const { ref } = await backend.create(context);
    const signer = await backend.open(ref, context);
    isGood = false;
    const closed = withCode('key_backend_unavailable', `${path} closed the connection without a response`);
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => signer.sign(MESSAGE)));
    for (const result of results) expect(result).toMatchObject({ reason: closed });
    await expect(backend.open(ref, context)).rejects.toMatchObject(closed);
  });

  it('that refuses to list its keys is reported as such', async () => {
    const { context } = await serve({ list: () => FAILURE });
    await expect(backend.create(context)).rejects.toMatchObject(
      withCode('key_backend_unavailable', 'refuses to list its keys'),
    );
  });

  it('that never answers is reported after 2 s, and given up after 60 s', async () => {
    let isSilent = false;
    let heard = () => {};
    const asked = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const { context, path, sockets } = await serve({
      sign(request) {
        if (!isSilent) return signed(request);
        heard();
        return Buffer.alloc(0);
      },
    });
    const said: string[] = [];
    const waiting = { ...context, onWait: (sentence: string) => said.push(sentence) };
    const { ref } = await backend.create(waiting);
    const signer = await backend.open(ref, waiting);
    isSilent = true;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const signing = Promise.resolve(signer.sign(MESSAGE)).catch((error) => error);
      await asked;
      vi.advanceTimersByTime(1_999);
      expect(said).toEqual([]);
      vi.advanceTimersByTime(1);
      expect(said).toEqual([expect.stringContaining(`Waiting for the SSH agent at ${path}.`)]);
      vi.advanceTimersByTime(57_999);
      expect(await Promise.race([signing, 'still waiting'])).toBe('still waiting');
      vi.advanceTimersByTime(1);
      expect(await signing).toMatchObject(withCode('key_refused', 'has not signed in time'));
      expect(said).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
    await Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  });

  it('leaves no connection open', async () => {
    const { context, sockets } = await serve({});
    const { ref } = await backend.create(context);
    const signer = await backend.open(ref, context);
    await Promise.all(Array.from({ length: 20 }, () => signer.sign(MESSAGE)));
    await Promise.all([...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    expect(sockets.size).toBe(0);
  });

  it('cannot put control characters into a message', async () => {
    const comment = '\u001b[31mred\u0007\n✗ an error\u202e';
    const list = () =>
      frame(byte(12), u32(2), ...[own, other].flatMap(({ blob }) => [string(blob), string(comment)]));
    const { context } = await serve({ list });
    const error = await backend.create(context).catch((thrown) => thrown);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
    expect(error.message).not.toMatch(/[\x00-\x1f\x7f\u202e]/);
    const { ref } = await backend.create({ ...context, agentKey: fingerprintOf(own.blob) });
    expect((await backend.open(ref, context)).publicKey).toHaveLength(33);
  });

  it('cannot present one key as another by its comment', async () => {
    const list = () => frame(byte(12), u32(1), string(other.blob), string(fingerprintOf(own.blob)));
    const { context } = await serve({ list });
    await expect(backend.create({ ...context, agentKey: fingerprintOf(own.blob) })).rejects.toMatchObject({
      code: 'key_not_chosen',
    });
  });

  it('may list a key twice, under two comments', async () => {
    const twice = ['one', 'two'].flatMap((comment) => [string(own.blob), string(comment)]);
    const { context } = await serve({ list: () => frame(byte(12), u32(2), ...twice) });
    for (const agentKey of [undefined, 'one', 'two', fingerprintOf(own.blob)])
      expect((await backend.create({ ...context, agentKey })).publicKey).toHaveLength(33);
  });

  it('never makes the reader throw anything else, whatever bytes it sends', () => {
    const answers = [identities(own.blob, other.blob), signature(...numbersOf(MESSAGE, own.privateKey))].map(
      (it) => it.subarray(4),
    );
    const mutated = fc
      .tuple(fc.constantFrom(...answers), fc.nat(), fc.nat(255), fc.nat())
      .map(([answer, at, value, length]) => {
        const bytes = Buffer.from(answer);
        bytes[at % bytes.length] = value;
        return bytes.subarray(0, length % 3 === 0 ? 1 + (length % bytes.length) : bytes.length);
      });
    const bytes = fc.oneof(mutated, fc.uint8Array({ minLength: 1, maxLength: 300 }));
    fc.assert(
      fc.property(bytes, (answer) => {
        for (const read of [readIdentities, readSignature]) {
          try {
            const found = read(new Uint8Array(answer));
            if (found instanceof Uint8Array) expect(found).toHaveLength(64);
          } catch (error) {
            expect(error instanceof RangeError || error instanceof AgentFailure).toBe(true);
          }
        }
      }),
      { numRuns: times(100, 500) },
    );
  });
});

describe('without an agent', () => {
  const create = (env: Record<string, string>) => backend.create({ dir: root, env });

  it('says that no agent is known, and where a service is given', async () => {
    const unknown = withCode('key_backend_unavailable', 'SSH_AUTH_SOCK is not set');
    for (const env of [{}, { SSH_AUTH_SOCK: '' }]) {
      await expect(create(env)).rejects.toMatchObject({
        ...unknown,
        fix: expect.stringContaining('AMESH_SSH_AUTH_SOCK'),
      });
      expect(await backend.probe({ dir: root, env })).toMatchObject({
        available: false,
        reason: unknown.detail,
      });
    }
    await expect(
      createIdentity(join(root, 'home'), {}, { friendlyName: 'x', backend: 'ssh-agent' }),
    ).rejects.toMatchObject(unknown);
    expect(existsSync(join(root, 'home'))).toBe(false);
  });

  it('says that there is no socket, or only a dead one, or that it is not a socket', async () => {
    const gone = join(root, 'gone');
    await expect(create({ SSH_AUTH_SOCK: gone })).rejects.toMatchObject(
      withCode('key_backend_unavailable', `There is no SSH agent at ${gone}.`),
    );
    const { path } = await serve({});
    await rename(path, gone); // which closing does not remove
    await servers.pop()?.close();
    await expect(create({ SSH_AUTH_SOCK: gone })).rejects.toMatchObject(
      withCode('key_backend_unavailable', `The SSH agent at ${gone} has ended: only its socket is left.`),
    );
    await writeFile(join(root, 'file'), 'x');
    for (const path of [join(root, 'file'), root])
      await expect(create({ SSH_AUTH_SOCK: path })).rejects.toMatchObject(
        withCode('key_backend_unavailable', `${path} is not the socket of an SSH agent.`),
      );
  });

  it('says that a path is too long, or not absolute', async () => {
    const longest = join(root, 'x'.repeat(106 - root.length));
    const { path } = await serve({});
    await rename(path, longest); // to which some versions of Node would connect in its place
    await expect(create({ SSH_AUTH_SOCK: `${longest}y` })).rejects.toMatchObject(
      withCode('key_backend_unavailable', 'is too long for a socket'),
    );
    await expect(create({ SSH_AUTH_SOCK: 'agent.sock' })).rejects.toMatchObject(
      withCode('key_backend_unavailable', 'SSH_AUTH_SOCK is not an absolute path'),
    );
  });

  it.each(['', ' ', '~/agent.sock', '"/run/agent.sock"', '$XDG_RUNTIME_DIR/agent.sock', 'https://agent'])(
    'refuses AMESH_SSH_AUTH_SOCK=%j',
    async (AMESH_SSH_AUTH_SOCK) => {
      await expect(create({ AMESH_SSH_AUTH_SOCK })).rejects.toThrow('AMESH_SSH_AUTH_SOCK');
    },
  );

  it.each([
    ['EACCES', 'may not use the SSH agent at /x'],
    ['EPERM', 'may not use the SSH agent at /x'],
    ['EAGAIN', 'takes no more connections'],
    ['ENAMETOOLONG', 'is too long for a socket'],
    ['EMFILE', 'cannot be used (EMFILE)'],
  ])('explains %s', async (code, detail) => {
    const agent = new Agent({ path: '/x', isForwarded: false }, {});
    const error = await explain(Object.assign(new Error('connect'), { code }), agent);
    expect(error).toMatchObject(withCode('key_backend_unavailable', detail));
  });

  it.skipIf(process.geteuid?.() !== 0)('explains EACCES to a user without a name', async () => {
    const agent = new Agent({ path: '/x', isForwarded: false }, {});
    const refused = Object.assign(new Error('connect'), { code: 'EACCES' });
    expect(await asNameless(() => explain(refused, agent))).toMatchObject(
      withCode('key_backend_unavailable', `This user (uid ${NAMELESS}) may not use the SSH agent at /x.`),
    );
  });

  it.each([
    ['another option', { backend: 'tpm2', agentKey: 'x' }, 'agentKey is only for the backend "ssh-agent".'],
    ['no backend', { agentSocket: '/x' }, 'agentSocket is only for the backend "ssh-agent".'],
    ['an empty key', { backend: 'ssh-agent', agentKey: '' }, 'agentKey is text.'],
    ['a socket for a shell', { backend: 'ssh-agent', agentSocket: '~/x' }, 'agentSocket begins with ~'],
  ])('refuses %s', async (_, options, message) => {
    const making = createIdentity(join(root, 'home'), {}, { friendlyName: 'x', ...options });
    await expect(making).rejects.toThrow(TypeError);
    await expect(making).rejects.toThrow(message);
  });
});

describe('the address of the agent', () => {
  const at = (env: Record<string, string>, named?: string, platform: NodeJS.Platform = 'linux') =>
    findAgent(env, named, platform);

  it('is the option of amesh, then the one named for the key, then the one of the session', () => {
    const env = { AMESH_SSH_AUTH_SOCK: '/a', SSH_AUTH_SOCK: '/c' };
    expect(at(env, '/b').path).toBe('/a');
    expect(at({ SSH_AUTH_SOCK: '/c' }, '/b').path).toBe('/b');
    expect(at({ SSH_AUTH_SOCK: '/c' }).path).toBe('/c');
    expect(at({}, undefined, 'win32').path).toBe('\\\\.\\pipe\\openssh-ssh-agent');
  });

  it.each([
    ['/tmp/ssh-AbCdEfGhIj/agent.1234', true],
    ['/home/me/.ssh/agent/s.hash.sshd.AbCd', true],
    ['/home/me/.ssh/agent/s.hash.agent.AbCd', false],
    ['/run/user/1000/ssh-tpm-agent.sock', false],
    ['/var/run-of-me/agent.sock', false],
  ])('says of %s in a session by SSH whether it seems forwarded', async (SSH_AUTH_SOCK, isForwarded) => {
    const env = { SSH_AUTH_SOCK, SSH_CONNECTION: '::1 1 ::1 22', XDG_RUNTIME_DIR: '/var/run-of-me' };
    expect(at(env)).toEqual({ path: SSH_AUTH_SOCK, isForwarded });
    expect(at({ ...env, SSH_CONNECTION: '' }).isForwarded).toBe(SSH_AUTH_SOCK.includes('.sshd.'));
    const text = await backend.describe({ dir: root, env });
    expect(text.includes('seems to be forwarded')).toBe(isForwarded);
  });

  it('is not the forwarded one if another was named', () => {
    const env = { SSH_AUTH_SOCK: '/tmp/ssh-x/agent.1', SSH_CONNECTION: 'x', AMESH_SSH_AUTH_SOCK: '/a' };
    expect(at(env).isForwarded).toBe(false);
  });
});

describe('the file of a key', () => {
  const base64 = Buffer.from(own.blob).toString('base64');
  it('is read with comments and without', () => {
    expect(fromReference(`${TYPE} ${base64}\n`)).toEqual({
      blob: new Uint8Array(own.blob),
      socket: undefined,
    });
    expect(fromReference(`# Socket: /a b\n${TYPE} ${base64} of me\n`)?.socket).toBe('/a b');
  });

  it.each([
    ['nothing', ''],
    ['two keys', `${TYPE} ${base64}\n${TYPE} ${base64}\n`],
    ['another kind of key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA\n'],
    ['half a key', `${TYPE} ${base64.slice(0, 60)}\n`],
    ['another base64', `${TYPE} ${base64.replace(/=*$/, '')}\n`],
    ['a socket with a control character', `# Socket: /a\u0007\n${TYPE} ${base64}\n`],
    ['a point that is not on the curve', `${TYPE} ${OFF_CURVE.toString('base64')}\n`],
    ['other text', 'not a key\n'],
  ])('is refused with %s', async (_, text) => {
    const { context } = await serve({ list: () => identities(own.blob, OFF_CURVE) });
    const { ref } = await backend.create({ ...context, agentKey: fingerprintOf(own.blob) });
    await writeFile(join(root, ref), text);
    await expect(backend.open(ref, context)).rejects.toMatchObject({ code: 'identity_unreadable' });
  });
});
