import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import { describe, expect, it } from 'vitest';
import { Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh init', () => {
  it('makes an identity and prints the next steps on stderr only', async () => {
    const machine = await createMachine();
    const { code, stdout, stderr } = await machine.amesh(['init', '--name', 'prod-api']);
    expect(code).toBe(0);
    expect(stdout).toBe('');
    const { deviceId } = await createAmesh({ dir: machine.dir, env: {} }).identity();
    expect(stderr).toContain(`✓ Device   prod-api  (${deviceId})`);
    expect(stderr).toContain(
      "✓ Key      Encrypted file; its passphrase was generated and is stored next to it. Anybody who can read this account's files can copy and use the key.\n",
    );
    expect(stderr).toContain(machine.dir);
    expect(stderr).toContain(
      `Callers use another name?  ${machine.here('amesh config hosts --add api.example.com')}\n`,
    );
    expect(stderr).toContain(
      `  Next: if this machine will RECEIVE requests   ${machine.here('amesh listen')}\n`,
    );
    expect(stderr).toContain(
      `          and both are on one network           ${machine.here('amesh listen --serve')}\n`,
    );
    expect(stderr).toContain(
      `        if it will SEND them                    ${machine.here('amesh invite CODE')}\n`,
    );
    expect(stderr).toContain(
      `        without a relay                         ${machine.here('amesh trust export')}\n`,
    );
    expect(stderr).toContain('        for a machine without a terminal        amesh provision --help\n');
    expect(stderr).not.toContain('\u001b');
    expect((await stat(machine.dir)).mode & 0o777).toBe(0o700);
  });

  it('seals the hosts that it is given', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh([
      'init',
      '--name',
      'prod-api',
      '--host',
      'API.example.com:443, b.example:8080',
    ]);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('Accepts requests for api.example.com, b.example:8080.');
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

  it('leaves an existing identity alone', async () => {
    const machine = await createMachine();
    await machine.init('first');
    const before = await readFile(join(machine.dir, 'identity.json'), 'utf8');
    const ran = await machine.amesh(['init', '--name', 'second']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(`There is already an identity in ${machine.dir}.`);
    expect(ran.stderr).toContain(
      `Or use a second folder, for example for a caller and a server on one machine: AUTH_MESH_DIR=${machine.dir}-2 amesh init --name second\n`,
    );
    expect(ran.stderr).toContain('--force');
    expect(ran.stderr).toContain('No changes were made.');
    expect(await readFile(join(machine.dir, 'identity.json'), 'utf8')).toBe(before);
    expect(await readdir(join(machine.dir, 'keys'))).toHaveLength(1);
    expect(objectOf(await machine.amesh(['init', '--name', 'second', '--json']))).toMatchObject({
      ok: false,
      error: { code: 'identity_exists' },
    });
  });

  it('moves the old files aside with --force, and says where', async () => {
    const machine = await createMachine();
    const old = await machine.init('first');
    const ran = await machine.amesh(['init', '--name', 'second', '--force']);
    expect(ran.code).toBe(0);
    const [, movedTo = ''] = /identity and its allow list are in (\S+)/.exec(ran.stderr) ?? [];
    expect(await readdir(movedTo)).toEqual(['allow_list.json', 'identity.json', 'seen.json']);
    expect(JSON.parse(await readFile(join(movedTo, 'identity.json'), 'utf8')).deviceId).toBe(old.deviceId);
    expect(ran.stderr).toContain('Restart the servers and programs that use this folder.\n');
    expect(ran.stderr).toContain(`On each machine that trusted the old one:  amesh revoke ${old.deviceId} `);
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
    [
      ['init', '--name', 'a', '--backend', 'tpm9'],
      '--backend must be encrypted-file or tpm2 or ssh-agent or keychain or secure-enclave, not tpm9.',
    ],
    [['init', '--name', 'a', '--key', 'SHA256:x'], '--key is only for --backend ssh-agent.'],
    [
      ['init', '--name', 'a', '--backend', 'tpm2', '--socket', '/x'],
      '--socket is only for --backend ssh-agent.',
    ],
    [['init', '--name', 'a', '--backend', 'ssh-agent', '--socket', '~/x'], '--socket begins with ~'],
    [['init', 'a', 'b'], '--name is missing.\n  Usage:'],
    [['init', '--', 'a'], '--name is missing.\n  Usage:'],
    [['init', '--name', 'a', 'b'], 'There is one argument too many: "b".'],
  ])('is a usage error: amesh %j', async (args, message) => {
    const machine = await createMachine();
    const ran = await machine.amesh(args);
    expect(ran.code).toBe(2);
    expect(ran.stdout).toBe('');
    expect(ran.stderr).toContain(message);
    expect(ran.stderr).toContain('Usage: amesh init --name <name>');
    expect(ran.stderr).toContain('No changes were made.');
    await expect(stat(machine.dir)).rejects.toThrow('ENOENT');
  });

  it('replaces an identity that cannot be read', async () => {
    const machine = await createMachine();
    await machine.init('first');
    await writeFile(join(machine.dir, 'identity.json'), '{');
    const ran = await machine.amesh(['init', '--name', 'second', '--force']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('amesh revoke "ITS OLD NAME" ');
  });

  it.each([
    [['init', 'laptop'], 'amesh init --name laptop'],
    [['init', 'my laptop', '--force'], 'amesh init --name "my laptop" --force'],
    [['init', '--host', 'a.example', '$(id)'], "amesh init --host a.example --name '$(id)'"],
  ])('says where the name goes: amesh %j', async (args, meant) => {
    const machine = await createMachine();
    const ran = await machine.amesh(args);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(`✗ --name is missing.\n  Did you mean: ${machine.here(meant)}\n`);
    await expect(stat(machine.dir)).rejects.toThrow('ENOENT');
  });

  it.each(['AMESH_PASSPHRASE_FILE', 'CREDENTIALS_DIRECTORY'])(
    'names what opens the key: %s',
    async (variable) => {
      const machine = await createMachine();
      const folder = dirname(machine.dir);
      const file = join(folder, 'amesh-passphrase');
      await writeFile(file, 'correct horse\n');
      const env = { [variable]: variable === 'CREDENTIALS_DIRECTORY' ? folder : file };
      const source =
        variable === 'CREDENTIALS_DIRECTORY' ? 'the systemd credential amesh-passphrase' : variable;
      const opened = `Encrypted file, opened by ${source}, which every command and program needs.`;
      expect((await machine.amesh(['init', '--name', 'a'], { env })).stderr).toContain(opened);
      expect((await machine.amesh(['whoami'], { env })).stdout).toContain(opened);
    },
  );

  it('says that a loopback name without a port means only two ports', async () => {
    const machine = await createMachine();
    const hosts = 'localhost,[::1],x.localhost:80,127.0.0.1:3000,a.example';
    const ran = await machine.amesh(['init', '--name', 'a', '--host', hosts]);
    expect(ran.stderr.match(/^! .*$/gm)).toEqual([
      '! "localhost" means ports 80 and 443. For another port, include it: localhost:3000',
      '! "[::1]" means ports 80 and 443. For another port, include it: [::1]:3000',
    ]);
  });

  it('prints commands for this folder if its name has to be quoted, and plain ones without a folder', async () => {
    const { dir } = await createMachine();
    const spaced = join(dir, "it's here");
    const machine = new Machine(spaced);
    const ran = await machine.amesh(['init', '--name', 'a']);
    const [, command = ''] = /RECEIVE requests {3}(.+)$/m.exec(ran.stderr) ?? [];
    const pasted = `amesh() { printf '%s|%s' "$AUTH_MESH_DIR" "$*"; }\n${command}`;
    const { stdout } = await promisify(execFile)('bash', ['-c', pasted], { env: {} });
    expect(stdout).toBe(`${spaced}|listen`);

    const env = { AUTH_MESH_DIR: '', HOME: dir };
    const plain = await machine.amesh(['init', '--name', 'a'], { env });
    expect(plain.stderr).toContain('RECEIVE requests   amesh listen\n');
    expect(plain.stderr).not.toContain('AUTH_MESH_DIR');
  });

  it('prints the folder of a relative AUTH_MESH_DIR in full', async () => {
    const machine = await createMachine();
    const env = { AUTH_MESH_DIR: relative(process.cwd(), machine.dir) };
    const ran = await machine.amesh(['init', '--name', 'a'], { env });
    expect(ran.stderr).toContain(machine.here('amesh trust export\n'));
  });

  it('says so plainly if the folder cannot be written', async () => {
    const machine = await createMachine();
    await writeFile(machine.dir, 'a file where the folder should be');
    const ran = await machine.amesh(['init', '--name', 'a']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(`✗ ${machine.dir} must be a folder, but there is a file in its place`);
    expect(ran.stderr).toContain('No changes were made.');
    expect(ran.stderr).not.toContain('replaced');
    expect(ran.stderr).not.toContain('    at ');
  });

  it.skipIf(process.platform !== 'linux')('ends where a file system has no room for folders', async () => {
    const machine = new Machine('/proc/amesh/here');
    const ran = await machine.amesh(['init', '--name', 'a']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(
      "✗ The operating system refused: ENOENT: no such file or directory, mkdir '/proc/amesh'.\n",
    );
  });

  it('says where the old files are if the new ones cannot be written', async () => {
    const machine = await createMachine();
    await machine.init('first');
    await mkdir(join(machine.dir, 'replaced'));
    await rename(join(machine.dir, 'keys'), join(machine.dir, 'old-keys'));
    await symlink('/proc', join(machine.dir, 'keys')); // a folder in which nothing can be created
    const ran = await machine.amesh(['init', '--name', 'second', '--force']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('Copies of replaced files are in its folder replaced/.');
    expect(ran.stderr).not.toContain('No changes were made.');
  });

  it('uses a supplied passphrase, which the next command needs, too', async () => {
    const machine = await createMachine();
    const env = { AUTH_MESH_PASSPHRASE: 'correct horse' };
    const opened = 'Encrypted file, opened by AUTH_MESH_PASSPHRASE, which every command and program needs.';
    const ran = await machine.amesh(['init', '--name', 'a'], { env });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain(`✓ Key      ${opened}`);
    const shown = await machine.amesh(['whoami'], { env });
    expect(shown.code).toBe(0);
    expect(shown.stdout).toContain(`key     ${opened}`);
    const without = await machine.amesh(['whoami', '--json']);
    expect(objectOf(without)).toMatchObject({ error: { code: 'passphrase_required' } });
    const wrong = await machine.amesh(['whoami'], { env: { AUTH_MESH_PASSPHRASE: 'wrong' } });
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('The passphrase does not open the private key.');
    expect(wrong.stderr).not.toContain('wrong\n');
  });
});
