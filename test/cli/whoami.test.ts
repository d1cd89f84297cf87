import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh whoami', () => {
  it('shows the identity on stdout', async () => {
    const machine = await createMachine();
    const { deviceId } = await machine.init('alice-laptop');
    const ran = await machine.amesh(['whoami']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toBe('');
    expect(ran.stdout.split('\n')).toEqual([
      'name    alice-laptop',
      `id      ${deviceId}`,
      "key     Encrypted file; its passphrase was generated and is stored next to it. Anybody who can read this account's files can copy and use the key.",
      'proofs  servers here sign answers with the key of this machine',
      `folder  ${machine.dir}`,
      'hosts   localhost only',
      '',
    ]);
  });

  it('names the hosts and where they come from with --json', async () => {
    const machine = await createMachine();
    const { deviceId } = await machine.init('alice-laptop');
    const ran = await machine.amesh(['--json', 'whoami'], { env: { AMESH_HOSTS: 'a.example, b.example' } });
    expect(objectOf(ran)).toMatchObject({
      ok: true,
      deviceId,
      backend: 'encrypted-file',
      dir: machine.dir,
      hosts: ['a.example', 'b.example'],
      hostsFrom: 'AMESH_HOSTS',
    });
  });

  it.each([
    ['whoami'],
    ['list'],
    ['config'],
    ['config hosts'],
    ['trust export'],
    ['trust reset --yes'],
    ['revoke somebody --yes'],
    ['trust add --role controller line'],
  ])('exits with 10 if there is no identity: amesh %s', async (line) => {
    const machine = await createMachine();
    const ran = await machine.amesh(line.split(' '));
    expect(ran.code).toBe(10);
    expect(ran.stdout).toBe('');
    expect(ran.stderr).toBe(
      `✗ There is no amesh identity in ${machine.dir}.\n  Run: ${machine.here('amesh init --name NAME')}\n  No changes were made.\n`,
    );
  });

  it('prints no control characters, even from an identity.json that was written by hand', async () => {
    const machine = await createMachine();
    const identity = await machine.init('a');
    const forged = { version: 1, ...identity, friendlyName: 'a\u001b[2J\n\u202eb' };
    await writeFile(join(machine.dir, 'identity.json'), JSON.stringify(forged));
    const ran = await machine.amesh(['whoami']);
    expect(ran.stdout).toContain('a\\u{1b}[2J\\u{a}\\u{202e}b\n');
    const object = await machine.amesh(['whoami', '--json']);
    expect(object.stdout).toContain('\\u202e');
    expect(objectOf(object).friendlyName).toBe('a\u001b[2J\n\u202eb');
    const line = (await machine.amesh(['trust', 'export'])).stdout;
    expect(line).toBe(`amesh-p256 ${identity.publicKey} a b\n`);
  });
});
