import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type Env, findBackend, openDevice } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Agent } from '../../src/keys/ssh-agent/agent';
import { AgentSigner } from '../../src/keys/ssh-agent/signer';
import { keyBackendContract } from '../support/key-backend-contract';
import { type Listening, listen } from '../support/listen';
import {
  askWith,
  describeWithAgent,
  describeWithGpg,
  describeWithToken,
  makeToken,
  type RealAgent,
  startAgent,
  startGpgAgent,
  writeAskpass,
} from '../support/ssh-agent';
import { verifies } from '../support/verifies';

const backend = findBackend('ssh-agent');
const MESSAGE = new TextEncoder().encode('what is signed');

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

const withCode = (code: string, detail: string) => ({ code, detail: expect.stringContaining(detail) });

describeWithAgent('with an agent of OpenSSH', () => {
  const agents: RealAgent[] = [];
  const start = async (env?: Record<string, string>) => {
    const agent = await startAgent(env);
    agents.push(agent);
    return agent;
  };
  afterEach(async () => {
    for (const agent of agents.splice(0)) await agent.remove();
  });
  const contextOf = (agent: RealAgent, more: Env = {}) => ({
    dir: root,
    env: { SSH_AUTH_SOCK: agent.path, ...more },
  });

  describe('two of its keys', () => {
    let agent: RealAgent;
    const fingerprints: string[] = [];
    beforeAll(async () => {
      agent = await startAgent();
      fingerprints.push(await agent.add('one'), await agent.add('two'));
    });
    afterAll(() => agent?.remove());
    keyBackendContract(backend, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
      const context = { dir, env: { SSH_AUTH_SOCK: agent.path } };
      return {
        context: { ...context, agentKey: fingerprints[0] },
        otherContext: { ...context, agentKey: 'two' },
        secrets: [agent.path],
        remove: () => rm(dir, { recursive: true, maxRetries: 20 }),
      };
    });
  });

  it('chooses the only key that fits, and keeps a public key file that ssh-keygen reads', async () => {
    const agent = await start();
    const fingerprint = await agent.add('laptop');
    await agent.add('another', { type: 'ed25519' });
    const { ref, publicKey } = await backend.create(contextOf(agent));
    expect(ref).toMatch(/^keys\/[\w-]{16}\.ssh-agent\.pub$/);
    expect(await agent.run('ssh-keygen', '-lf', join(root, ref))).toContain(fingerprint);
    const signer = await backend.open(ref, contextOf(agent));
    expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
    expect(await backend.describe(contextOf(agent), ref)).toContain(fingerprint);
  });

  it('makes 500 signatures at once, with every length of r and s', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref, publicKey } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    const signatures = await Promise.all(Array.from({ length: 500 }, () => signer.sign(MESSAGE)));
    expect(await verifies(MESSAGE, publicKey, signatures)).toBe(true);
    const isHigh = (signature: Uint8Array) => (signature[32] as number) > 0x7f;
    expect(new Set(signatures.map(isHigh)).size).toBe(2);
  });

  it('signs the bytes that it was given, even if they change while it waits', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref, publicKey } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    const given = Buffer.from(MESSAGE);
    const signing = [signer.sign(given), signer.sign(given)];
    given.fill(0);
    expect(await verifies(MESSAGE, publicKey, await Promise.all(signing))).toBe(true);
  });

  it('signs as much as an agent accepts, and says when it is more', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref, publicKey } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    const most = 256 * 1024 - 13 - 104;
    const key = await nodeCrypto.importPublicKey(publicKey);
    expect(await key.verify(await signer.sign(new Uint8Array(most)), new Uint8Array(most))).toBe(true);
    for (const length of [most + 1, 1024 * 1024])
      await expect(signer.sign(new Uint8Array(length))).rejects.toMatchObject(
        withCode('key_backend_unavailable', `An SSH agent does not sign ${length} bytes at once`),
      );
  });

  it('finds its key among 100, and lists some of them if none is named', async () => {
    const agent = await start();
    await agent.addMany(99);
    const fingerprint = await agent.add('the one');
    const error = await backend.create(contextOf(agent)).catch((thrown) => thrown);
    expect(error).toMatchObject(
      withCode('key_not_chosen', 'The SSH agent has 100 keys that amesh can use: SHA256:'),
    );
    expect(error.detail).toContain(', and 90 more.');
    expect(error.fix).toContain('--key SHA256:…');
    for (const agentKey of [fingerprint, `${fingerprint}=`, 'the one']) {
      const { ref } = await backend.create({ ...contextOf(agent), agentKey });
      expect((await backend.open(ref, contextOf(agent))).publicKey).toHaveLength(33);
      expect(await readFile(join(root, ref), 'utf8')).toContain(' the one\n');
    }
  });

  it.each([
    ['ed25519', 'ed25519', 'ssh-ed25519'],
    ['rsa', 'rsa-1024', 'ssh-rsa'],
    ['P-384', 'ecdsa-384', 'ecdsa-sha2-nistp384'],
    ['P-521', 'ecdsa-521', 'ecdsa-sha2-nistp521'],
  ])('refuses a key of %s, and says what to do', async (_, type, name) => {
    const agent = await start();
    await agent.add('mine', { type });
    const probe = await backend.probe(contextOf(agent));
    expect(probe).toMatchObject({
      available: false,
      reason: `The SSH agent has no key that amesh can use: it has ${name}, and amesh needs ecdsa-sha2-nistp256.`,
      advice: { command: ['ssh-keygen', '-t', 'ecdsa', '-b', '256'] },
    });
    await agent.add('right');
    await expect(backend.create({ ...contextOf(agent), agentKey: 'mine' })).rejects.toMatchObject(
      withCode('key_not_chosen', `The key "mine" is of the type ${name}`),
    );
  });

  it('refuses a certificate, and uses the key next to it', async () => {
    const agent = await start();
    const [ca, key] = [join(agent.dir, 'ca'), join(agent.dir, 'key')];
    for (const file of [ca, key]) await agent.run('ssh-keygen', '-q', '-N', '', '-t', 'ecdsa', '-f', file);
    await agent.run('ssh-keygen', '-q', '-s', ca, '-I', 'me', '-n', 'me', `${key}.pub`);
    await agent.run('ssh-add', '-q', key); // which adds both
    expect(await agent.run('ssh-add', '-l')).toContain('ECDSA-CERT');
    const { ref } = await backend.create(contextOf(agent));
    expect(await (await backend.open(ref, contextOf(agent))).sign(MESSAGE)).toHaveLength(64);
  });

  it('says that there is no such key, or that two have this comment', async () => {
    const agent = await start();
    const fingerprint = await agent.add('same');
    await agent.add('same');
    await expect(backend.create({ ...contextOf(agent), agentKey: 'other' })).rejects.toMatchObject(
      withCode('key_not_chosen', `The SSH agent has no key "other". It has SHA256:`),
    );
    await expect(backend.create({ ...contextOf(agent), agentKey: 'same' })).rejects.toMatchObject(
      withCode('key_not_chosen', 'The SSH agent has 2 keys with the comment "same": SHA256:'),
    );
    await backend.create({ ...contextOf(agent), agentKey: fingerprint });
  });

  it('signs again after the agent was restarted and has its key again, and until then says that it does not', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref, publicKey } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    await agent.restart();
    const gone = withCode('key_absent', 'lists no keys: it is locked, or was restarted');
    await expect(signer.sign(MESSAGE)).rejects.toMatchObject(gone);
    await expect(backend.open(ref, contextOf(agent))).rejects.toMatchObject(gone);
    expect(await backend.probe(contextOf(agent), ref)).toMatchObject({ available: false });
    await agent.run('ssh-add', '-q', join(agent.dir, 'key-0'));
    expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
  });

  it('says that the key was removed', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    await agent.add('two');
    await agent.run('ssh-add', '-q', '-d', join(agent.dir, 'key-0'));
    const gone = withCode('key_absent', 'does not have the key SHA256:');
    await expect(signer.sign(MESSAGE)).rejects.toMatchObject(gone);
    await expect(backend.open(ref, contextOf(agent))).rejects.toMatchObject(gone);
  });

  it('says that the agent is locked, and signs once it is unlocked', async () => {
    writeAskpass(join(root, 'askpass'), 'echo a-password');
    const agent = await start(askWith(join(root, 'askpass')));
    await agent.add('one');
    const { ref, publicKey } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    await agent.run('ssh-add', '-x');
    const locked = { code: 'key_absent', fix: expect.stringContaining('ssh-add -X') };
    await expect(signer.sign(MESSAGE)).rejects.toMatchObject(locked);
    await expect(backend.open(ref, contextOf(agent))).rejects.toMatchObject(locked);
    await agent.run('ssh-add', '-X');
    expect(await verifies(MESSAGE, publicKey, [await signer.sign(MESSAGE)])).toBe(true);
  });

  it('says that its user refused, and asks once for all signatures that wait', async () => {
    writeAskpass(join(root, 'askpass'), `echo asked >>${join(root, 'log')}; exit 1`);
    const agent = await start(askWith(join(root, 'askpass')));
    const fingerprint = await agent.add('one', { flags: ['-c'] });
    await expect(backend.create(contextOf(agent))).rejects.toMatchObject(
      withCode('key_refused', `refused to sign with the key ${fingerprint}`),
    );
    expect(await readdir(root)).not.toContain('keys');
    const blob = Buffer.from((await agent.run('ssh-add', '-L')).split(' ')[1] as string, 'base64');
    const signer = await AgentSigner.of(new Agent({ path: agent.path, isForwarded: false }, {}), blob);
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => signer.sign(MESSAGE)));
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['rejected']));
    expect(await readFile(join(root, 'log'), 'utf8')).toBe('asked\n'.repeat(2));
  });

  it('says that it waits for a person, and signs when they have confirmed', async () => {
    writeAskpass(join(root, 'askpass'), `until [ -e ${join(root, 'touched')} ]; do sleep 0.05; done`);
    const agent = await start(askWith(join(root, 'askpass')));
    await agent.add('one', { flags: ['-c'] });
    const blob = Buffer.from((await agent.run('ssh-add', '-L')).split(' ')[1] as string, 'base64');
    const said: string[] = [];
    const place = { path: agent.path, isForwarded: false };
    const onWait = (sentence: string) => {
      said.push(sentence);
      writeAskpass(join(root, 'touched'), '');
    };
    const signer = await AgentSigner.of(new Agent(place, { onWait }, { noticeMs: 50 }), blob);
    expect(await verifies(MESSAGE, signer.publicKey, [await signer.sign(MESSAGE)])).toBe(true);
    expect(said[0]).toBe(
      `Waiting for the SSH agent at ${agent.path}. It may require a touch or a PIN, or ask in a window. amesh waits at most 60 s.`,
    );
  });

  it('does not wait forever for an agent that hangs', async () => {
    const agent = await start();
    await agent.add('one');
    const { ref } = await backend.create(contextOf(agent));
    const signer = await backend.open(ref, contextOf(agent));
    process.kill(agent.pid, 'SIGSTOP');
    try {
      const blob = Buffer.from(
        (await readFile(join(root, ref), 'utf8')).split(' ').at(-2) as string,
        'base64',
      );
      const place = { path: agent.path, isForwarded: false };
      const impatient = await AgentSigner.of(
        new Agent(place, { onWait: () => {} }, { noticeMs: 10, deadlineMs: 100 }),
        blob,
      );
      const results = await Promise.allSettled(Array.from({ length: 50 }, () => impatient.sign(MESSAGE)));
      for (const result of results)
        expect(result).toMatchObject({
          reason: withCode('key_refused', 'has not signed in time'),
        });
      const signal = AbortSignal.timeout(50);
      expect(await backend.probe({ ...contextOf(agent), signal })).toMatchObject({
        available: false,
        reason: `The SSH agent at ${agent.path} has not responded in time.`,
      });
    } finally {
      process.kill(agent.pid, 'SIGCONT');
    }
    expect(await signer.sign(MESSAGE)).toHaveLength(64);
  });

  it('uses the socket that was named for the key, even if the session has none', async () => {
    const [agent, other] = [await start(), await start()];
    await agent.add('one');
    await other.add('another');
    const dir = join(root, 'home');
    const identity = await createIdentity(
      dir,
      { SSH_AUTH_SOCK: other.path },
      { friendlyName: 'x', backend: 'ssh-agent', agentSocket: agent.path },
    );
    for (const env of [{}, { SSH_AUTH_SOCK: other.path }, { AMESH_SSH_AUTH_SOCK: agent.path }]) {
      const device = await openDevice(dir, env);
      expect(await verifies(MESSAGE, device.signer.publicKey, [await device.signer.sign(MESSAGE)])).toBe(
        true,
      );
    }
    const { ref } = identity.key;
    await expect(backend.open(ref, { dir, env: { AMESH_SSH_AUTH_SOCK: other.path } })).rejects.toMatchObject({
      code: 'key_absent',
    });
    await expect(
      backend.create({ dir, env: { AMESH_SSH_AUTH_SOCK: other.path }, agentSocket: agent.path }),
    ).rejects.toThrow('AMESH_SSH_AUTH_SOCK names another socket');
  });

  it('does not make a second identity of one key in one folder, and does not change the first', async () => {
    const agent = await start();
    await agent.add('one');
    const dir = join(root, 'home');
    const env = { SSH_AUTH_SOCK: agent.path };
    const first = await createIdentity(dir, env, { friendlyName: 'x', backend: 'ssh-agent' });
    await expect(
      createIdentity(dir, env, { friendlyName: 'y', backend: 'ssh-agent', force: true }),
    ).rejects.toMatchObject(withCode('key_not_chosen', 'already has this key'));
    expect(await readdir(join(dir, 'keys'))).toHaveLength(1);
    expect((await openDevice(dir, env)).identity).toMatchObject({
      deviceId: first.deviceId,
      friendlyName: 'x',
    });
    for (const damage of [
      () => writeFile(join(dir, 'identity.json'), '{'),
      () => rm(join(dir, 'identity.json')),
    ]) {
      await damage();
      await expect(
        createIdentity(dir, env, { friendlyName: 'y', backend: 'ssh-agent', force: true }),
      ).rejects.toMatchObject(
        withCode('key_not_chosen', `The allow list in ${dir} was sealed with this key`),
      );
    }
    await rm(dir, { recursive: true });
    const again = await createIdentity(dir, env, { friendlyName: 'z', backend: 'ssh-agent' });
    expect(again.deviceId).toBe(first.deviceId);
  });

  it('removes what it knows about a key, but not the key', async () => {
    const agent = await start();
    const fingerprint = await agent.add('one');
    const { ref } = await backend.create(contextOf(agent));
    await backend.remove(ref, contextOf(agent));
    expect(await readdir(join(root, 'keys'))).toEqual([]);
    expect(await agent.run('ssh-add', '-l')).toContain(fingerprint);
  });
});

describeWithAgent('a program whose key needs to be confirmed', () => {
  it('asks its person once for 100 requests, and says that they refused', async () => {
    // As a touch: the person is asked for each signature.
    writeAskpass(join(root, 'askpass'), `echo asked >>${join(root, 'log')}; test -e ${join(root, 'yes')}`);
    const agent = await startAgent(askWith(join(root, 'askpass')));
    const asked = async () => (await readFile(join(root, 'log'), 'utf8')).split('\n').length - 1;
    let target: Listening | undefined;
    try {
      await writeFile(join(root, 'yes'), '');
      await agent.add('one', { flags: ['-c'] });
      const env = { SSH_AUTH_SOCK: agent.path };
      const dir = join(root, 'caller');
      const identity = await createIdentity(dir, env, { friendlyName: 'caller', backend: 'ssh-agent' });
      expect(await asked()).toBe(2); // the test of the key, and the list
      await createIdentity(join(root, 'target'), {}, { friendlyName: 'target' });
      await (await openDevice(join(root, 'target'), {})).trust.update((list) =>
        addDevice(list, { ...identity, role: 'controller', hosts: [] }, 0),
      );
      const verify = createAmesh({ dir: join(root, 'target'), env: {} }).verify();
      target = await listen((req, res) => verify(req, res, () => void res.end('passed')));
      const { origin } = target;
      const amesh = createAmesh({ dir, env });
      await rm(join(root, 'yes'));
      await expect(amesh.fetch(origin)).rejects.toMatchObject({ code: 'key_refused' });
      await writeFile(join(root, 'yes'), '');
      const responses = await Promise.all(Array.from({ length: 100 }, () => amesh.fetch(origin)));
      expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
      expect(await asked()).toBe(4);
    } finally {
      await target?.close();
      await agent.remove();
    }
  });
});

describeWithToken('with a PKCS#11 token in an agent of OpenSSH', () => {
  it('signs with the key of the token, and says when the token was removed', async () => {
    const token = makeToken();
    const agent = await startAgent(token.env);
    try {
      await agent.run('ssh-add', '-q', '-s', token.provider);
      const context = { dir: root, env: { SSH_AUTH_SOCK: agent.path } };
      const { ref, publicKey } = await backend.create(context);
      const signer = await backend.open(ref, context);
      const signatures = await Promise.all(Array.from({ length: 20 }, () => signer.sign(MESSAGE)));
      expect(await verifies(MESSAGE, publicKey, signatures)).toBe(true);
      await agent.run('ssh-add', '-q', '-e', token.provider);
      await expect(signer.sign(MESSAGE)).rejects.toMatchObject({ code: 'key_absent' });
    } finally {
      await agent.remove();
      token.remove();
    }
  });
});

describeWithGpg('with the agent of GnuPG', () => {
  it('signs with its key', async () => {
    const agent = startGpgAgent();
    try {
      const context = { dir: root, env: { SSH_AUTH_SOCK: agent.path } };
      const { ref, publicKey } = await backend.create(context);
      const signer = await backend.open(ref, context);
      const signatures = await Promise.all(Array.from({ length: 20 }, () => signer.sign(MESSAGE)));
      expect(await verifies(MESSAGE, publicKey, signatures)).toBe(true);
    } finally {
      agent.remove();
    }
  });
});
