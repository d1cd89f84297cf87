import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  createIdentity,
  findBackend,
  fromTrustLine,
  openDevice,
  resetTrust,
  toTrustLine,
} from '@authmesh/sdk/admin';
import { fromDerSignature, type Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { toSigner } from '../../src/core/crypto/node';
import { externalSigner } from '../../src/keys/external';
import { objectOf, useMachines } from '../cli/amesh';
import { ensureBuilt } from '../support/built';
import { describeWithSoftHsm, startSoftHsm } from '../support/softhsm';

const ROOT = resolve(import.meta.dirname, '../..');
const createMachine = useMachines();
const message = new TextEncoder().encode('what is signed');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

/** A key that is elsewhere, and counts what it signs. */
function countedSigner(key: KeyObject = newKey()) {
  const inner = toSigner(key);
  const signer = {
    count: 0,
    publicKey: inner.publicKey,
    sign(bytes: Uint8Array) {
      signer.count++;
      return inner.sign(bytes);
    },
  };
  return signer;
}

const base64Url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
const dirOf = (name: string) => join(root, name);
const identify = (name: string, { publicKey }: Signer) =>
  createIdentity(dirOf(name), {}, { friendlyName: name, publicKey, hosts: ['127.0.0.1:1'] });

describe('amesh init --public-key', () => {
  const pemOf = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;

  it('makes an identity from a PEM file or from the 33 bytes, without a key in the folder', async () => {
    const key = newKey();
    const text = base64Url(toSigner(key).publicKey);
    await writeFile(dirOf('key.pem'), pemOf(key));
    for (const given of [text, dirOf('key.pem')]) {
      const machine = await createMachine();
      const made = await machine.amesh(['init', '--name', 'api', '--public-key', given, '--json']);
      expect(objectOf(made)).toMatchObject({ publicKey: text, backend: 'external' });
      const shown = await (await createMachine()).amesh(['init', '--name', 'api', '--public-key', given]);
      expect(shown.stderr).toContain(`  Public   ${text}\n`);
      const exported = await machine.amesh(['trust', 'export']);
      expect(exported).toMatchObject({ code: 0, stdout: `${objectOf(made).line}\n` });
      expect((await machine.amesh(['whoami'])).stdout).toContain('Outside amesh: only a program with');
      expect((await machine.amesh(['list'])).stderr).toContain('✗ This identity has no allow list yet');
    }
  });

  it.each([
    ['a private key', () => newKey().export({ type: 'pkcs8', format: 'pem' }), 'contains a private key'],
    [
      'a key of another curve',
      () => pemOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
      'does not contain a P-256 public key',
    ],
    [
      'an RSA key',
      () => pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
      'does not contain a P-256 public key',
    ],
    ['no key', () => 'hello', 'does not contain a P-256 public key'],
  ])('refuses %s', async (_, content, expected) => {
    await writeFile(dirOf('key.pem'), content() as string);
    const machine = await createMachine();
    const refused = await machine.amesh(['init', '--name', 'api', '--public-key', dirOf('key.pem')]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(expected);
  });

  it('refuses a file that does not exist, bytes off the curve, and a backend next to it', async () => {
    const machine = await createMachine();
    const init = (...args: string[]) => machine.amesh(['init', '--name', 'api', ...args]);
    expect((await init('--public-key', dirOf('none.pem'))).stderr).toContain('cannot be read (ENOENT)');
    const off = base64Url(Uint8Array.of(2, ...new Uint8Array(32).fill(255)));
    expect((await init('--public-key', off)).stderr).toMatch(/curve/);
    expect((await init('--public-key', off, '--backend', 'encrypted-file')).stderr).toContain(
      'leave --backend out',
    );
    expect((await machine.amesh(['whoami'])).stderr).toContain('There is no amesh identity');
  });

  it('lets the command line read the list once a program has sealed it, but not change it', async () => {
    const signer = countedSigner();
    const machine = await createMachine();
    await machine.amesh([
      'init',
      '--name',
      'api',
      '--host',
      'api.example',
      '--public-key',
      base64Url(signer.publicKey),
    ]);
    await openDevice(machine.dir, {}, null, signer);
    expect(objectOf(await machine.amesh(['whoami', '--json']))).toMatchObject({ hosts: ['api.example'] });
    expect((await machine.amesh(['list'])).code).toBe(0);
    expect((await machine.amesh(['doctor'])).stdout).toContain('Outside amesh');
    const refused = await machine.amesh(['config', 'hosts', '--add', 'other.example', '--json']);
    expect(objectOf(refused)).toMatchObject({ error: { code: 'signer_required' } });
    const reset = await machine.amesh(['trust', 'reset', '--yes', '--json']);
    expect(objectOf(reset)).toMatchObject({ error: { code: 'signer_required' } });
    expect((await machine.amesh(['list'])).code).toBe(0);
  });
});

describe('createAmesh({ signer })', () => {
  it('seals the list and signs requests with a working key, so that the signer signs only once for them', async () => {
    const [server, caller] = [countedSigner(), countedSigner()];
    await identify('server', server);
    const { deviceId } = await identify('caller', caller);
    const verify = createAmesh({ dir: dirOf('server'), env: {}, signer: server }).verify();
    const http = createServer((request, response) =>
      verify(request as never, response as never, () => response.end('ok')),
    ).listen(0, '127.0.0.1');
    await once(http, 'listening');
    const { port } = http.address() as AddressInfo;
    const add = async (
      name: string,
      signer: Signer,
      other: string,
      role: 'controller' | 'target',
      hosts: string[],
    ) => {
      const { identity } = await openDevice(dirOf(other), {}, null, other === 'server' ? server : caller);
      const line = await fromTrustLine(toTrustLine(identity));
      const { trust } = await openDevice(dirOf(name), {}, null, signer);
      await trust.update((draft) =>
        addDevice(draft, { ...line, role, hosts }, Math.floor(Date.now() / 1000)),
      );
    };
    await add('server', server, 'caller', 'controller', []);
    await add('caller', caller, 'server', 'target', [`127.0.0.1:${port}`]);
    const { trust } = await openDevice(dirOf('server'), {}, null, server);
    await trust.update((draft) => draft.change({ hosts: [`127.0.0.1:${port}`] }));
    const before = caller.count;
    const amesh = createAmesh({ dir: dirOf('caller'), env: {}, signer: caller });
    const call = () => amesh.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{}' });
    const answers = await Promise.all(Array.from({ length: 30 }, call));
    expect(answers.map(({ status }) => status)).toEqual(Array(30).fill(200));
    expect(caller.count - before).toBe(1);
    expect(deviceId).toMatch(/^am_/);
    http.close();
    http.closeAllConnections();
  });

  it('is a machine without a key in its folder: no file there opens one', async () => {
    const signer = countedSigner();
    await identify('api', signer);
    await createAmesh({ dir: dirOf('api'), env: {}, signer }).identity();
    await expect(readFile(join(dirOf('api'), '.passphrase'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(readFile(join(dirOf('api'), 'keys'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('seals the first list once, when several instances start at the same moment', async () => {
    const signer = countedSigner();
    await identify('api', signer);
    const instances = Array.from({ length: 5 }, () => openDevice(dirOf('api'), {}, null, signer));
    const lists = await Promise.all(
      instances.map(async (each) => (await (await each).trust.read()).head.revision),
    );
    expect(lists).toEqual([1, 1, 1, 1, 1]);
    expect(signer.count).toBe(1);
  });

  it('does not replace a missing list with an empty one', async () => {
    const signer = countedSigner();
    await identify('api', signer);
    await openDevice(dirOf('api'), {}, null, signer);
    await rm(join(dirOf('api'), 'allow_list.json'));
    const { trust } = await openDevice(dirOf('api'), {}, null, signer);
    await expect(trust.read()).rejects.toMatchObject({ code: 'allow_list_integrity_failure' });
    await resetTrust(dirOf('api'), {}, { signer });
    await trust.read();
  });

  it('says how to make the missing identity, or whose key it is not', async () => {
    const signer = countedSigner();
    await expect(createAmesh({ dir: dirOf('api'), env: {}, signer }).identity()).rejects.toMatchObject({
      code: 'no_identity',
      command: ['amesh', 'init', '--name', 'NAME', '--public-key', base64Url(signer.publicKey)],
    });
    await identify('api', countedSigner());
    await expect(createAmesh({ dir: dirOf('api'), env: {}, signer }).identity()).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
  });

  it('without the signer, says that the key is outside', async () => {
    const signer = countedSigner();
    await identify('api', signer);
    const { trust } = await openDevice(dirOf('api'), {}, null, signer);
    const { signer: without } = await openDevice(dirOf('api'), {}, null);
    await expect(without.sign(message)).rejects.toMatchObject({ code: 'signer_required' });
    expect((await trust.read()).head.revision).toBe(1);
    await expect(findBackend('external').create({ dir: root, env: {} })).rejects.toMatchObject({
      code: 'key_backend_unavailable',
    });
    await expect(findBackend('external').open('../x', { dir: root, env: {} })).rejects.toMatchObject({
      code: 'identity_unreadable',
    });
  });

  const key = newKey();
  const good = toSigner(key);
  it.each<[string, unknown]>([
    ['nothing', null],
    ['no publicKey', { sign: good.sign }],
    ['a publicKey as text', { ...good, publicKey: base64Url(good.publicKey) }],
    ['an uncompressed publicKey', { ...good, publicKey: Uint8Array.of(4, ...new Uint8Array(64)) }],
    ['33 bytes that begin with 4', { ...good, publicKey: Uint8Array.of(4, ...new Uint8Array(32)) }],
    ['no sign', { publicKey: good.publicKey }],
  ])('refuses a signer with %s at the call that gets it', (_, signer) => {
    expect(() => createAmesh({ signer: signer as Signer })).toThrow(TypeError);
  });

  it.each<[string, () => unknown, string]>([
    [
      'DER',
      () => new Uint8Array(sign('sha256', message, key)),
      'did not return a Uint8Array of 64 bytes, but of',
    ],
    ['text', () => base64Url(new Uint8Array(64)), 'did not return a Uint8Array of 64 bytes.'],
    ['nothing', () => undefined, 'did not return a Uint8Array of 64 bytes.'],
    ['a signature of something else', () => good.sign(new Uint8Array(3)), 'does not verify'],
    ['the signature of another key', () => toSigner(newKey()).sign(message), 'does not verify'],
    ['zeros', () => new Uint8Array(64), 'does not verify'],
  ])('refuses a signer that returns %s', async (_, result, detail) => {
    const signer = { publicKey: good.publicKey, sign: async () => result() as Uint8Array };
    await identify('api', signer);
    await expect(openDevice(dirOf('api'), {}, null, signer)).rejects.toMatchObject({
      code: 'signer_failed',
      detail: expect.stringContaining(detail),
    });
  });

  it('says what the signer threw, as the cause', async () => {
    const cause = new Error('AccessDeniedException');
    const signer = { publicKey: good.publicKey, sign: () => Promise.reject(cause) };
    await identify('api', signer);
    await expect(openDevice(dirOf('api'), {}, null, signer)).rejects.toMatchObject({
      code: 'signer_failed',
      cause,
    });
  });
});

describe('a signer that never answers', () => {
  const signerOf = (sign: Signer['sign']): Signer => ({ publicKey: toSigner(newKey()).publicKey, sign });

  it('is reported after a while, and given up later, so that the next signature can be tried', async () => {
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const never = externalSigner(
      signerOf(() => new Promise(() => {})),
      { noticeMs: 1, deadlineMs: 50 },
    );
    const signing = [never.sign(message), never.sign(message)];
    for (const { reason } of (await Promise.allSettled(signing)) as PromiseRejectedResult[])
      expect(reason).toMatchObject({
        code: 'signer_failed',
        detail: 'The signer has not signed within 0.05 s.',
        fix: expect.stringContaining('timeout'),
      });
    expect(warned).toHaveBeenCalledWith(
      'amesh: Waiting for a signature of the signer that the program gave. amesh waits at most 0.05 s.',
    );
    warned.mockRestore();
  });

  it('does not delay a caller who has aborted', async () => {
    const key = newKey();
    let isSilent = false;
    let giveUp = () => {};
    const signer: Signer = {
      publicKey: toSigner(key).publicKey,
      sign: (message) =>
        isSilent
          ? new Promise((_, reject) => {
              giveUp = () => reject(new Error('over'));
            })
          : toSigner(key).sign(message),
    };
    await identify('api', signer);
    const amesh = createAmesh({ dir: dirOf('api'), env: {}, signer });
    await amesh.identity();
    isSilent = true;
    const controller = new AbortController();
    const calling = amesh.fetch('http://127.0.0.1:1/', { signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(calling).rejects.toThrow('enough');
    giveUp(); // which ends the wait
  });
});

describe('fromDerSignature()', () => {
  it('makes 64 bytes that verify from signatures of OpenSSL, 300 times', async () => {
    const key = newKey();
    const verifier = await nodeCrypto.importPublicKey(toSigner(key).publicKey);
    for (let i = 0; i < 300; i++)
      expect(await verifier.verify(fromDerSignature(sign('sha256', message, key)), message)).toBe(true);
  });

  it('accepts the shortest and the longest', () => {
    expect(base64Url(fromDerSignature(Buffer.from('3006020101020101', 'hex')))).toBe(
      base64Url(Uint8Array.of(...new Uint8Array(31), 1, ...new Uint8Array(31), 1)),
    );
    const long = `022100${'ff'.repeat(32)}`;
    expect(Buffer.from(fromDerSignature(Buffer.from(`3046${long}${long}`, 'hex'))).toString('hex')).toBe(
      'ff'.repeat(64),
    );
  });

  const one = '020101';
  it.each([
    ['nothing', ''],
    ['64 bytes of r and s', 'ab'.repeat(64)],
    ['another tag', `3106${one}${one}`],
    ['a byte after it', `3006${one}${one}00`],
    ['a length that counts too much', `3007${one}${one}`],
    ['a long form of the length', `308106${one}${one}`],
    ['a negative r', `3006020181${one}`],
    ['a leading zero too many', `300702020001${one}`],
    ['an r of 34 bytes', `3027022200${'ff'.repeat(33)}${one}`],
    ['an r of 33 bytes without a leading zero', `30260221${'ff'.repeat(33)}${one}`],
    ['an empty s', `30050201010200`],
    ['a third number', `3009${one}${one}${one}`],
    ['an s that is a text', '3006020101040101'],
    ['an r that is too long for the whole', '30060220010201ff'],
  ])('refuses %s', (_, hex) => {
    expect(() => fromDerSignature(Buffer.from(hex, 'hex'))).toThrow(TypeError);
  });

  it('refuses what is not bytes', () => {
    expect(() => fromDerSignature('3006020101020101' as never)).toThrow(TypeError);
  });
});

/** The code below a heading of docs/keys.md. */
async function exampleOf(heading: string): Promise<string> {
  const page = await readFile(join(ROOT, 'docs/keys.md'), 'utf8');
  const section = page.split(`\n### ${heading}\n`)[1] ?? '';
  return /```js [^\n]*\n([\s\S]*?)```/.exec(section)?.[1] ?? '';
}

/** Signs with the signer of an example, in a process of its own. */
async function signAs(
  heading: string,
  packages: Record<string, string>,
  env: Record<string, string>,
): Promise<Uint8Array> {
  await ensureBuilt();
  const modules = join(root, 'node_modules');
  await mkdir(join(modules, '@authmesh'), { recursive: true });
  await symlink(ROOT, join(modules, '@authmesh/sdk'));
  for (const [name, content] of Object.entries(packages)) {
    await mkdir(dirname(join(modules, name)), { recursive: true });
    if (content.startsWith('/')) await symlink(content, join(modules, name));
    else {
      await mkdir(join(modules, name));
      await writeFile(join(modules, name, 'package.json'), '{ "type": "module", "main": "index.js" }');
      await writeFile(join(modules, name, 'index.js'), content);
    }
  }
  await writeFile(join(root, 'signer.mjs'), await exampleOf(heading));
  const run = `const { signer } = await import('./signer.mjs');
    const signature = await signer.sign(Buffer.from(${JSON.stringify(base64Url(message))}, 'base64url'));
    console.log(Buffer.from(signature).toString('base64url') + ' ' + signer.publicKey.length);
    process.exit();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', run], {
    cwd: root,
    env: { ...process.env, ...env },
  });
  const [signature = '', length] = stdout.trim().split(' ');
  expect(length).toBe('33');
  return Buffer.from(signature, 'base64url');
}

describe('the examples of docs/keys.md, with requests in the shape of each service', () => {
  // The packages of the services are large. These have the documented shape of their requests and answers, and real keys.
  const SIGNS = `import { p256 } from '${ROOT}/node_modules/@noble/curves/nist.js';
    const secret = Buffer.from(process.env.SECRET, 'hex');
    const signDigest = (digest, format) => {
      if (!(digest instanceof Uint8Array) || digest.length !== 32) throw new Error('no digest');
      return Buffer.from(p256.sign(digest, secret, { prehash: false, lowS: false, format }));
    };
    const assertKey = (id) => { if (id !== 'the-key') throw new Error('no such key'); };`;
  const AWS = `${SIGNS}
    export class SignCommand { constructor(input) { this.input = input; } }
    export class KMSClient {
      async send({ input: { KeyId, Message, MessageType, SigningAlgorithm, ...rest } }) {
        assertKey(KeyId);
        if (MessageType !== 'DIGEST' || SigningAlgorithm !== 'ECDSA_SHA_256' || Object.keys(rest).length > 0)
          throw new Error('ValidationException');
        return { KeyId, SigningAlgorithm, Signature: new Uint8Array(signDigest(Message, 'der')) };
      }
    }`;
  const GOOGLE = `${SIGNS}
    export class KeyManagementServiceClient {
      async asymmetricSign({ name, digest: { sha256 }, ...rest }) {
        assertKey(name);
        if (Object.keys(rest).length > 0) throw new Error('INVALID_ARGUMENT');
        return [{ name, signature: signDigest(sha256, 'der') }, undefined, undefined];
      }
    }`;
  const AZURE = `${SIGNS}
    export class CryptographyClient {
      constructor(id, credential) { assertKey(id); this.credential = credential; }
      async sign(algorithm, digest) {
        if (algorithm !== 'ES256' || this.credential.isDefault !== true) throw new Error('BadParameter');
        return { result: new Uint8Array(signDigest(digest, 'compact')), algorithm, keyID: 'the-key' };
      }
    }`;

  it.each([
    ['AWS KMS', { '@aws-sdk/client-kms': AWS }],
    ['Google Cloud KMS', { '@google-cloud/kms': GOOGLE }],
    [
      'Azure Key Vault',
      {
        '@azure/keyvault-keys': AZURE,
        '@azure/identity': 'export class DefaultAzureCredential { isDefault = true }',
      },
    ],
  ])('%s signs', async (heading, packages) => {
    const key = newKey();
    const { publicKey } = toSigner(key);
    const { d = '' } = key.export({ format: 'jwk' });
    const signature = await signAs(heading, packages as never, {
      SECRET: Buffer.from(d, 'base64url').toString('hex'),
      KEY_ID: 'the-key',
      AMESH_PUBLIC_KEY: base64Url(publicKey),
    });
    expect(await (await nodeCrypto.importPublicKey(publicKey)).verify(signature, message)).toBe(true);
  });
});

describeWithSoftHsm('the example of docs/keys.md, with a real SoftHSM', () => {
  it('signs', async () => {
    const hsm = startSoftHsm();
    try {
      const publicKey = Uint8Array.of(2 + ((hsm.point[64] as number) & 1), ...hsm.point.subarray(1, 33));
      const signature = await signAs(
        'PKCS#11',
        { pkcs11js: hsm.pkcs11js },
        {
          ...hsm.env,
          AMESH_PUBLIC_KEY: base64Url(publicKey),
        },
      );
      expect(await (await nodeCrypto.importPublicKey(publicKey)).verify(signature, message)).toBe(true);
    } finally {
      hsm.remove();
    }
  });
});
