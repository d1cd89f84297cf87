import { createServer } from 'node:http';
import { createAmesh } from '@authmesh/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';
import { objectOf, useMachines } from './amesh';

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

  it('offers it to whom did not choose, and keeps a key in it', async () => {
    const machine = await createMachine();
    const env = { AMESH_TPM: tpm.address };
    const made = await machine.amesh(['init', '--name', 'api'], { env });
    expect(made.stderr).toContain(
      '  This machine has a TPM, which would not let anybody copy the key:  amesh init --name NAME --backend tpm2 --force\n',
    );
    const moved = await machine.amesh(['init', '--name', 'api', '--backend', 'tpm2', '--force'], { env });
    expect(moved.stderr).toContain('✓ Key      In the TPM of this machine: nobody can copy it.');
    expect(objectOf(await machine.amesh(['keys', '--json'], { env }))).toMatchObject({
      backends: [
        { id: 'encrypted-file', available: true, hardware: false, inUse: false },
        { id: 'tpm2', available: true, hardware: true, inUse: true },
        { id: 'ssh-agent', available: false, hardware: false, inUse: false },
        { id: 'keychain', hardware: false, inUse: false },
      ],
    });
    expect((await machine.amesh(['whoami'], { env })).stdout).toContain('In the TPM of this machine');
    const doctor = await machine.amesh(['doctor'], { env });
    expect(doctor.stdout + doctor.stderr).toContain('In the TPM of this machine');
    const without = await machine.amesh(['list'], { env: { AMESH_TPM: 'device:/dev/no-tpm' } });
    expect(without.stderr).toContain('✗ This machine has no TPM 2.0 at /dev/no-tpm.');
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
