import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh init', () => {
  it('makes an identity and prints the next steps on stderr only', async () => {
    const machine = await createMachine();
    const { code, stdout, stderr } = await machine.amesh(['init', '--name', 'prod-api']);
    expect(code).toBe(0);
    expect(stdout).toBe('');
    const { deviceId } = await createAmesh({ dir: machine.dir, env: {} }).identity();
    expect(stderr).toContain(`✓ Device   prod-api  (${deviceId})`);
    expect(stderr).toContain("Whoever can read this account's files can copy it.");
    expect(stderr).toContain(machine.dir);
    expect(stderr).toContain('Answers to localhost only. Callers use another name?  amesh config hosts');
    expect(stderr).toContain('amesh trust export');
    expect(stderr).toContain('amesh trust add --role controller "<line>"');
    expect(stderr).toContain('amesh trust add --role target --host <host> "<line>"');
    expect(stderr).not.toContain('\u001b');
    expect((await stat(machine.dir)).mode & 0o777).toBe(0o700);
  });

  it('seals the hosts it is given', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh([
      'init',
      '--name',
      'prod-api',
      '--host',
      'API.example.com:443, b.example:8080',
    ]);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('Answers to api.example.com, b.example:8080.');
    expect((await machine.allowList()).hosts).toEqual(['api.example.com', 'b.example:8080']);
  });

  it('prints one object with --json, and nothing else', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh(['init', '--name', 'prod-api', '--backend', 'encrypted-file', '--json']);
    expect(ran.stderr).toBe('');
    const identity = await createAmesh({ dir: machine.dir, env: {} }).identity();
    expect(objectOf(ran)).toEqual({
      ok: true,
      deviceId: identity.deviceId,
      friendlyName: 'prod-api',
      publicKey: identity.publicKey,
      createdAt: identity.createdAt,
      backend: 'encrypted-file',
      dir: machine.dir,
      hosts: [],
      movedTo: null,
      line: `amesh-p256 ${identity.publicKey} prod-api`,
    });
  });

  it('says nothing with --quiet', async () => {
    const machine = await createMachine();
    expect(await machine.amesh(['init', '--name', 'prod-api', '--quiet'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('leaves an identity alone that is there', async () => {
    const machine = await createMachine();
    await machine.init('first');
    const before = await readFile(join(machine.dir, 'identity.json'), 'utf8');
    const ran = await machine.amesh(['init', '--name', 'second']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(`There is an identity in ${machine.dir} already.`);
    expect(ran.stderr).toContain('--force');
    expect(ran.stderr).toContain('Nothing was changed.');
    expect(await readFile(join(machine.dir, 'identity.json'), 'utf8')).toBe(before);
    expect(await readdir(join(machine.dir, 'keys'))).toHaveLength(1);
    expect(objectOf(await machine.amesh(['init', '--name', 'second', '--json']))).toMatchObject({
      ok: false,
      error: { code: 'identity_exists' },
    });
  });

  it('moves the old files aside with --force and says where', async () => {
    const machine = await createMachine();
    const old = await machine.init('first');
    const ran = await machine.amesh(['init', '--name', 'second', '--force']);
    expect(ran.code).toBe(0);
    const [, movedTo = ''] = /identity and its allow list are in (\S+)/.exec(ran.stderr) ?? [];
    expect(await readdir(movedTo)).toEqual(['allow_list.json', 'identity.json', 'seen.json']);
    expect(JSON.parse(await readFile(join(movedTo, 'identity.json'), 'utf8')).deviceId).toBe(old.deviceId);
    const identity = await createAmesh({ dir: machine.dir, env: {} }).identity();
    expect(identity.friendlyName).toBe('second');
    expect(identity.deviceId).not.toBe(old.deviceId);
  });

  it.each([
    [['init'], '--name is missing.'],
    [['init', '--name'], '--name needs a value.'],
    [['init', '--name', ''], '--name needs a value.'],
    [['init', '--name', '--force'], '--name needs a value.'],
    [['init', '--name', 'a', '--host', 'https://a.example'], '"https://a.example" is not a host.'],
    [['init', '--name', 'a', '--host', 'a', '--host', 'b'], '--host is given twice.'],
    [['init', '--name', 'a', '--backend', 'tpm9'], '--backend is encrypted-file, and not tpm9.'],
    [['init', 'a'], '--name is missing.'],
    [['init', '--name', 'a', 'b'], '"b" is one argument too many.'],
  ])('is a usage error: amesh %j', async (args, message) => {
    const machine = await createMachine();
    const ran = await machine.amesh(args);
    expect(ran.code).toBe(2);
    expect(ran.stdout).toBe('');
    expect(ran.stderr).toContain(message);
    expect(ran.stderr).toContain('Usage: amesh init --name <name>');
    expect(ran.stderr).toContain('Nothing was changed.');
    await expect(stat(machine.dir)).rejects.toThrow('ENOENT');
  });

  it('says it plainly where the folder cannot be written', async () => {
    const machine = await createMachine();
    await writeFile(machine.dir, 'a file where the folder should be');
    const ran = await machine.amesh(['init', '--name', 'a']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('✗ The operating system refused: E');
    expect(ran.stderr).toContain('AUTH_MESH_DIR');
    expect(ran.stderr).not.toContain('    at ');
  });

  it('uses a supplied passphrase, which the next command needs too', async () => {
    const machine = await createMachine();
    const env = { AUTH_MESH_PASSPHRASE: 'correct horse' };
    expect((await machine.amesh(['init', '--name', 'a'], { env })).code).toBe(0);
    expect((await machine.amesh(['whoami'], { env })).code).toBe(0);
    const without = await machine.amesh(['whoami', '--json']);
    expect(objectOf(without)).toMatchObject({ error: { code: 'passphrase_required' } });
    const wrong = await machine.amesh(['whoami'], { env: { AUTH_MESH_PASSPHRASE: 'wrong' } });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('The passphrase does not open the private key.');
    expect(wrong.stderr).not.toContain('wrong\n');
  });
});
