import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type Env, FileStore, openDevice } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { testOwnKey } from '../../src/machine/setup/test-own-key';
import { callsOf } from '../support/calls-of';
import { listen } from '../support/listen';
import { askWith, describeWithAgent, type RealAgent, startAgent, writeAskpass } from '../support/ssh-agent';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';

let root: string;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(async () => {
  logged.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});
const lines = () => callsOf(logged).map(([line]: unknown[]) => String(line));
const about = () => lines().filter((line: string) => line.includes('private key of this machine'));

/** Starts a server that trusts a caller, and returns what its log says of its own key before any request. */
async function startServer(env: Env) {
  const verify = createAmesh({ dir: join(root, 'target'), env }).verify();
  const target = await listen((req, res) => verify(req, res, () => void res.end('passed')));
  await vi.waitFor(() => expect(about()).toHaveLength(1), 20_000);
  return target;
}

describeWithTpm('A server with a key in a TPM', () => {
  let tpm: Swtpm;
  let env: Env;
  beforeEach(async () => {
    tpm = await startSwtpm();
    env = { AMESH_TPM: tpm.address, AMESH_PIN: 'right' };
    await createIdentity(join(root, 'target'), env, { friendlyName: 'target', backend: 'tpm2' });
    const caller = await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
    const { trust } = await openDevice(join(root, 'target'), env);
    await trust.update((list) => addDevice(list, { ...caller, role: 'controller', hosts: [] }, 0));
  });
  afterEach(() => tpm?.remove());

  it('says at its start that its PIN is wrong, and continues', async () => {
    const target = await startServer({ ...env, AMESH_PIN: 'wrong' });
    expect(about()[0]).toContain('does not sign: The PIN does not open the private key. Set the right');
    expect(about()[0]).not.toContain('"wrong"');
    const { status } = await createAmesh({ dir: join(root, 'caller'), env: {} }).fetch(target.origin);
    expect(status).toBe(200);
    expect(about()).toHaveLength(1);
    await target.close();
  });

  it('says at its start that its TPM was cleared', async () => {
    await tpm.run('tpm2_clear');
    const target = await startServer(env);
    expect(about()[0]).toContain('cannot be used: The TPM was cleared');
    await target.close();
  });

  it('says nothing if it can sign', async () => {
    const tell = vi.fn();
    const device = () => openDevice(join(root, 'target'), env);
    await testOwnKey(new FileStore(join(root, 'target')), device, tell);
    expect(tell).not.toHaveBeenCalled();
  });
});

describeWithAgent('A server with a key in an SSH agent', () => {
  let agent: RealAgent;
  let env: Env;
  beforeEach(async () => {
    writeAskpass(join(root, 'askpass'), `touch ${join(root, 'asked')}`);
    agent = await startAgent(askWith(join(root, 'askpass')));
    env = { SSH_AUTH_SOCK: agent.path };
  });
  afterEach(() => agent?.remove());

  const makeTarget = async (flags: readonly string[]) => {
    await agent.add('amesh', { flags });
    await createIdentity(join(root, 'target'), env, { friendlyName: 'target', backend: 'ssh-agent' });
  };

  it('says at its start that the agent does not have it', async () => {
    await makeTarget([]);
    await agent.restart();
    const target = await startServer(env);
    expect(about()[0]).toContain('cannot be used: The SSH agent');
    await target.close();
  });

  it('asks nobody for a touch', async () => {
    await makeTarget(['-c']);
    expect(existsSync(join(root, 'asked'))).toBe(true); // by init
    await rm(join(root, 'asked'));
    const tell = vi.fn();
    await testOwnKey(new FileStore(join(root, 'target')), () => openDevice(join(root, 'target'), env), tell);
    expect([tell.mock.calls, existsSync(join(root, 'asked'))]).toEqual([[], false]);
  });
});

describe('A server with a key in a file', () => {
  it('does not open it before the first request', async () => {
    await createIdentity(join(root, 'target'), {}, { friendlyName: 'target' });
    const device = vi.fn();
    await testOwnKey(new FileStore(join(root, 'target')), device, vi.fn());
    await testOwnKey(new FileStore(join(root, 'nothing')), device, vi.fn());
    expect(device).not.toHaveBeenCalled();
  });
});
