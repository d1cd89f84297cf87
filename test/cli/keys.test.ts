import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWithToken, makeToken, type RealAgent, startAgent } from '../support/ssh-agent';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh keys, without a TPM', () => {
  it('says what each backend is, or why it is not there', async () => {
    const machine = await createMachine();
    const env = { AMESH_TPM: 'device:/dev/no-tpm' };
    const { code, stdout, stderr } = await machine.amesh(['keys'], { env });
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: '  To choose one: amesh init --name NAME --backend BACKEND\n',
    });
    expect(stdout).toContain('✓ encrypted-file\n    Encrypted file; its passphrase');
    expect(stdout).toContain('– tpm2\n    This machine has no TPM 2.0 at /dev/no-tpm.\n');
    expect(stdout).toContain('– secure-enclave\n    Only a Mac has a Secure Enclave.\n');
    expect(stdout).toContain('– ssh-agent\n    No SSH agent is known here: SSH_AUTH_SOCK is not set.\n');

    await machine.amesh(['init', '--name', 'api'], { env });
    expect((await machine.amesh(['keys'], { env })).stdout).toContain(
      '✓ encrypted-file  (the key of this machine)\n',
    );
    const refused = await machine.amesh(['init', '--name', 'api', '--backend', 'tpm2', '--force'], { env });
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('✗ This machine has no TPM 2.0 at /dev/no-tpm.\n');
    expect(refused.stderr).toContain('Enable it in the firmware');
  });
});

describeWithTpm('amesh keys, with a TPM', () => {
  let tpm: Swtpm;
  beforeAll(async () => {
    tpm = await startSwtpm();
  });
  afterAll(() => tpm?.remove());

  it('says in status and doctor that a key with a wrong PIN does not sign', async () => {
    const machine = await createMachine();
    const env = (pin: string) => ({ AMESH_TPM: tpm.address, AMESH_PIN: pin });
    await machine.amesh(['init', '--name', 'api', '--backend', 'tpm2'], { env: env('right') });
    expect(await machine.amesh(['status'], { env: env('right') })).toMatchObject({ code: 0 });
    const status = await machine.amesh(['status'], { env: env('wrong') });
    expect(status).toMatchObject({ code: 1 });
    expect(status.stdout).toContain('It does not sign: The PIN does not open the private key. Set the right');
    expect(objectOf(await machine.amesh(['status', '--json'], { env: env('wrong') }))).toMatchObject({
      ok: false,
      error: { code: 'pin_wrong' },
    });
    const doctor = await machine.amesh(['doctor'], { env: env('wrong') });
    expect(doctor.stdout).toContain('✗ key       The PIN does not open the private key.');
    await tpm.run('tpm2_dictionarylockout --clear-lockout');
  });

  it('mentions it to a user who did not choose, and keeps a key in it', async () => {
    const machine = await createMachine();
    const env = { AMESH_TPM: tpm.address };
    const made = await machine.amesh(['init', '--name', 'api'], { env });
    expect(made.stderr).toContain(
      '  This machine has a TPM: amesh init --name NAME --backend tpm2 --force keeps the key in it.\n',
    );
    const moved = await machine.amesh(['init', '--name', 'api', '--backend', 'tpm2', '--force'], { env });
    expect(moved.stderr).toContain('✓ Key      In the TPM of this machine: nobody can copy it.');
    expect(objectOf(await machine.amesh(['keys', '--json'], { env }))).toMatchObject({
      backends: [
        { id: 'encrypted-file', available: true, hardware: false, inUse: false },
        { id: 'tpm2', available: true, hardware: true, inUse: true },
        { id: 'ssh-agent', available: false, hardware: false, inUse: false },
        { id: 'keychain', hardware: false, inUse: false },
        { id: 'secure-enclave', available: false, hardware: true, inUse: false },
      ],
    });
    expect((await machine.amesh(['whoami'], { env })).stdout).toContain('In the TPM of this machine');
    const doctor = await machine.amesh(['doctor'], { env });
    expect(doctor.stdout + doctor.stderr).toContain('In the TPM of this machine');
    const without = await machine.amesh(['list'], { env: { AMESH_TPM: 'device:/dev/no-tpm' } });
    expect(without.stderr).toContain('✗ This machine has no TPM 2.0 at /dev/no-tpm.');
    const stopped = await machine.amesh(['doctor'], { env: { AMESH_TPM: 'tcp:127.0.0.1:1' } });
    expect(stopped.stdout).toMatch(
      /✗ key +No TPM responds at tcp:127\.0\.0\.1:1 \(ECONNREFUSED\)\.\n +Fix: Start it, or correct AMESH_TPM\.$/m,
    );
  });

  it('signs requests between machines whose keys are in a TPM', async () => {
    const env = { AMESH_TPM: tpm.address };
    const [server, caller] = [await createMachine(), await createMachine()];
    for (const [machine, name] of [
      [server, 'server'],
      [caller, 'caller'],
    ] as const)
      await machine.amesh(['init', '--name', name, '--backend', 'tpm2'], { env });
    const line = async (machine: typeof server) =>
      (await machine.amesh(['trust', 'export'], { env })).stdout.trim();
    await server.amesh(['trust', 'add', '--role', 'controller', await line(caller)], { env });
    const verify = createAmesh({ dir: server.dir, env }).verify();
    const http = createServer((request, response) =>
      verify(request as never, response as never, () => response.end('ok')),
    );
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as { port: number };
    await caller.amesh(
      ['trust', 'add', '--role', 'target', '--host', `127.0.0.1:${port}`, await line(server)],
      { env },
    );
    const amesh = createAmesh({ dir: caller.dir, env });
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        amesh.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{}' }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    http.close();
    http.closeAllConnections();
  });
});

describeWithToken('amesh keys, with an SSH agent', () => {
  let agent: RealAgent;
  let token: ReturnType<typeof makeToken>;
  beforeAll(async () => {
    token = makeToken();
    agent = await startAgent(token.env);
  });
  afterAll(async () => {
    await agent?.remove();
    token?.remove();
  });

  it('pairs, calls and revokes with a key of the agent and a key of a token, which it lists and explains', async () => {
    const env = { SSH_AUTH_SOCK: agent.path };
    const [server, caller] = [await createMachine(), await createMachine()];
    const empty = await server.amesh(['init', '--name', 'server', '--backend', 'ssh-agent'], { env });
    expect(empty.stderr).toContain('✗ The SSH agent lists no keys: it is empty, or locked.\n');
    expect(empty.stderr).toContain('ssh-keygen -t ecdsa -b 256');

    const fingerprint = await agent.add('amesh of the server');
    const plain = await server.amesh(['init', '--name', 'server'], { env });
    expect(plain.stderr).toContain(
      '  The SSH agent of this session has a key that amesh can use: amesh init --name NAME --backend ssh-agent --force keeps the key in it.\n',
    );
    const forwarded = { ...env, SSH_CONNECTION: '::1 1 ::1 22' };
    const quiet = await caller.amesh(['init', '--name', 'caller'], { env: forwarded });
    expect(quiet.stderr).not.toContain('ssh-agent');

    const made = await server.amesh(['init', '--name', 'server', '--backend', 'ssh-agent', '--force'], {
      env,
    });
    expect(made.stderr).toContain(`✓ Key      In the SSH agent at ${agent.path} as ${fingerprint}: `);
    await agent.run('ssh-add', '-q', '-s', token.provider);
    const several = await caller.amesh(['init', '--name', 'caller', '--backend', 'ssh-agent', '--force'], {
      env,
    });
    expect(several.stderr).toContain(
      `✗ The SSH agent has 2 keys that amesh can use: ${fingerprint} (amesh of the server), SHA256:`,
    );
    const list = await agent.run('ssh-add', '-l');
    const [, ofToken = ''] =
      /(SHA256:\S+) (?!amesh)/.exec(list.replace(/^.*amesh of the server.*$/m, '')) ?? [];
    await caller.amesh(['init', '--name', 'caller', '--backend', 'ssh-agent', '--key', ofToken, '--force'], {
      env,
    });
    const keys = await caller.amesh(['keys'], { env: forwarded });
    expect(keys.stdout).toContain(
      `✓ ssh-agent  (the key of this machine)\n    In the SSH agent at ${agent.path} as ${ofToken}: `,
    );
    expect(keys.stdout).toContain('This agent seems to be forwarded');
    expect((await caller.amesh(['doctor'], { env })).stdout).toContain(ofToken);
    await expectCalls(server, caller, env);
    for (const machine of [server, caller]) await expectNoSecrets(machine.dir);
  });

  async function expectCalls(server: Machine, caller: Machine, env: { SSH_AUTH_SOCK: string }) {
    const line = async (machine: Machine) =>
      (await machine.amesh(['trust', 'export'], { env })).stdout.trim();
    await server.amesh(['trust', 'add', '--role', 'controller', await line(caller)], { env });
    const verify = createAmesh({ dir: server.dir, env }).verify();
    const http = createServer((request, response) =>
      verify(request as never, response as never, () => response.end('ok')),
    );
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as { port: number };
    const host = `127.0.0.1:${port}`;
    await caller.amesh(['trust', 'add', '--role', 'target', '--host', host, await line(server)], { env });
    const amesh = createAmesh({ dir: caller.dir, env });
    const call = async () => (await amesh.fetch(`http://${host}/`, { method: 'POST', body: '{}' })).status;
    expect(await Promise.all(Array.from({ length: 10 }, call))).toEqual(Array(10).fill(200));
    expect(await server.amesh(['revoke', 'caller', '--yes'], { env })).toMatchObject({ code: 0 });
    const refused = () => call().catch((error) => error.claims);
    await expect.poll(refused, { timeout: 20_000 }).toBe('unauthorized'); // to whom it does not know, it proves nothing
    http.close();
    http.closeAllConnections();
  }

  /** The folder has the public key, and no PIN. */
  async function expectNoSecrets(dir: string) {
    for (const name of await readdir(dir, { recursive: true })) {
      const path = join(dir, name);
      if ((await stat(path)).isFile() && !name.startsWith('replaced') && name.includes('ssh-agent'))
        expect(await readFile(path, 'utf8')).not.toMatch(/PRIVATE|4829163/);
    }
  }
});
