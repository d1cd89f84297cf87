import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { EXIT } from '../../src/cli/src/errors/exit-codes';
import { FileLock } from '../../src/storage/files/file-lock';
import { BIN, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh --help and --version', () => {
  it('lists the commands of this release on stdout', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh(['--help']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const commands = /Commands:\n((?: {2}.*\n)+)/.exec(ran.stdout)?.[1]?.match(/^ {2}[\w-]+/gm);
    expect(commands?.map((name) => name.trim())).toEqual([
      'init',
      'listen',
      'invite',
      'status',
      'whoami',
      'keys',
      'provision',
      'grant',
      'delegate',
      'answer-key',
      'tokens',
      'trust',
      'list',
      'rename',
      'allow',
      'deny',
      'can',
      'rotate',
      'revoke',
      'curl',
      'mcp',
      'config',
      'proxy',
      'doctor',
      'complete',
      'relay',
    ]);
    expect(ran.stdout).not.toContain('\u001b');
    expect((await machine.amesh(['help'])).stdout).toBe(ran.stdout);
  });

  it.each([
    'init',
    'listen',
    'invite',
    'provision',
    'grant',
    'tokens',
    'tokens cancel',
    'relay',
    'status',
    'whoami',
    'keys',
    'list',
    'rename',
    'allow',
    'deny',
    'can',
    'revoke',
    'complete',
    'config',
    'config hosts',
    'config relay',
    'doctor',
    'trust',
    'trust export',
    'trust add',
    'trust reset',
  ])('explains amesh %s', async (command) => {
    const machine = await createMachine();
    const ran = await machine.amesh([...command.split(' '), '--help'], {
      isProcess: command === 'trust add',
    });
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toContain(`Usage: amesh ${command}`);
    expect(ran.stdout).toContain('--no-color');
    expect(ran.stdout).not.toContain('undefined');
    expect((await machine.amesh(['help', ...command.split(' ')])).stdout).toBe(ran.stdout);
  });

  it('says what a flag means for the command, if that is more than for other commands', async () => {
    const machine = await createMachine();
    const help = async (command: string) => (await machine.amesh([command, '--help'])).stdout;
    expect(await help('invite')).toMatch(
      /^ {2}--yes +Ask nothing, and ignore the hosts that the other machine reports\.$/m,
    );
    expect(await help('listen')).toMatch(/^ {2}--yes +Answer yes to all questions\.$/m);
  });

  it('says that a command has others below it, even if it does something itself', async () => {
    const machine = await createMachine();
    for (const command of ['config', 'tokens'])
      expect((await machine.amesh([command, 'nothing'])).stderr).toContain(
        `Usage: amesh ${command} [command]\n`,
      );
  });

  it('says which arguments a command takes that has others below it', async () => {
    const machine = await createMachine();
    const { stdout } = await machine.amesh(['rotate', '--help']);
    expect(stdout).toContain('Usage: amesh rotate [command] [url...] [--backend <name>]');
  });

  it('prints one object with --json', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh(['status', '--help', '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const { stdout } = await machine.amesh(['status', '--help']);
    expect(objectOf(ran)).toEqual({ ok: true, usage: 'amesh status', help: stdout.trimEnd() });
  });

  it('prints the version of the package', async () => {
    const machine = await createMachine();
    const { version } = JSON.parse(
      await readFile(new URL('../../src/cli/package.json', import.meta.url), 'utf8'),
    );
    expect(await machine.amesh(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
    expect((await machine.amesh(['version'])).stdout).toBe(`${version}\n`);
    expect((await machine.amesh(['help', 'status'])).stdout).toContain('Usage: amesh status\n');
    expect(objectOf(await machine.amesh(['list', '--version', '--json']))).toEqual({ ok: true, version });
  });
});

describe('a wrong command line', () => {
  it.each([
    ['trust', 'Which command?', 'amesh trust <command>'],
    ['lsit', 'There is no command amesh lsit.\n  Did you mean: amesh list', 'amesh <command>'],
    ['trust exprot', 'Did you mean: amesh trust export', 'amesh trust <command>'],
    ['config hots a', 'Did you mean: amesh config hosts', 'amesh config'],
    ['xyzzy', 'There is no command amesh xyzzy.\n  See: amesh --help', 'amesh <command>'],
    ['constructor', 'There is no command amesh constructor.', 'amesh <command>'],
    ['__proto__', 'There is no command amesh __proto__.', 'amesh <command>'],
    ['list --jsno', 'There is no flag --jsno here. Did you mean --json?', 'amesh list'],
    ['list -x', 'There is no flag -x here.', 'amesh list'],
    ['list --no-json', 'There is no flag --no-json here.', 'amesh list'],
    ['list --no-colour', 'Did you mean --no-color?', 'amesh list'],
    ['list --json=false', '--json takes no value.', 'amesh list'],
    ['list extra', 'There is one argument too many: "extra".', 'amesh list'],
    ['whoami -- extra', 'There is one argument too many: "extra".', 'amesh whoami'],
    ['--name x init', 'There is no flag --name here.', 'amesh <command>'],
    ['revoke', 'Which device? Give its name or ID, or --all-controllers.', 'amesh revoke [id|name]'],
    ['docter', 'Did you mean: amesh doctor', 'amesh <command>'],
    ['revoke a b', 'Put a value with spaces in quotes.', 'amesh revoke [id|name]'],
    [
      'curl https://a.example/ {"amount":5}',
      'Give a body by -d: --json only says how amesh prints.',
      'amesh curl <url> [flags]',
    ],
    [
      'trust add line',
      '--role is missing.',
      'amesh trust add --role controller|target [--host <a,b>] [--scope <scope...>] [--no-proofs] ["line"]',
    ],
    [
      'provision --name x --ttl 2d',
      'from 1s to 24h.\n  Use a whole number and s, m, h or d, such as 90s, 15m or 1h.',
      'amesh provision',
    ],
    [
      'proxy --bogus',
      'There is no flag --bogus here.',
      'amesh proxy --listen <address> [flags]   See: amesh proxy --help\n',
    ],
    ['curl --bogus', 'There is no flag', 'amesh curl <url> [flags]   See: amesh curl --help\n'],
    ['listen --bogus', 'There is no flag', 'amesh listen [flags]   See: amesh listen --help\n'],
    ['trust add --role boss', '--role must be controller or target, not boss.', 'amesh trust add'],
  ])('amesh %s', async (line, message, usage) => {
    const machine = await createMachine();
    const args = line.split(' ');
    const ran = await machine.amesh(args);
    expect(ran.code).toBe(2);
    expect(ran.stdout).toBe('');
    expect(ran.stderr).toContain(message);
    expect(ran.stderr).toContain(`Usage: ${usage}`);
    expect(ran.stderr).toContain('No changes were made.');
    const json = await machine.amesh(['--json', ...args]);
    expect(json.stderr).toBe('');
    expect(objectOf(json)).toMatchObject({
      ok: false,
      error: {
        code: 'usage',
        message: expect.any(String),
        hint: expect.stringContaining(`Usage: ${usage.trimEnd()}`),
      },
    });
  });

  it('prints no usage line that is longer than one line', async () => {
    const machine = await createMachine();
    const help = (await machine.amesh(['--help'])).stdout;
    const names = /Commands:\n((?: {2}.*\n)+)/.exec(help)?.[1]?.match(/^ {2}[\w-]+/gm) ?? [];
    expect(names.length).toBeGreaterThan(20);
    for (const name of names) {
      const { stderr } = await machine.amesh([name.trim(), '--bogus']);
      expect(stderr).toContain(`Usage: amesh ${name.trim()}`);
      for (const line of stderr.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
    }
  });

  it('is not a command at all: the help comes on stderr', async () => {
    const machine = await createMachine();
    const help = (await machine.amesh(['--help'])).stdout;
    for (const args of [[], ['--quiet']]) {
      expect(await machine.amesh(args)).toEqual({ code: 2, stdout: '', stderr: help });
    }
    const json = await machine.amesh(['--json']);
    expect(json).toMatchObject({ code: 2, stderr: '' });
    expect(objectOf(json)).toMatchObject({ ok: false, error: { code: 'usage', message: 'Which command?' } });
  });

  it('shows no control characters that were typed', async () => {
    const machine = await createMachine();
    for (const args of [
      ['\u001b[2J'],
      ['list', '--\u001b[2J'],
      ['list', '\u202e\u001b]0;x\u0007'],
      ['x'.repeat(10_000)],
    ]) {
      const ran = await machine.amesh(args);
      expect(ran.code).toBe(2);
      expect(ran.stderr).toMatch(/^[\x20-\x7e\n✗…“”]+$/);
      expect(ran.stderr.length).toBeLessThan(400);
    }
  });
});

describe('the environment', () => {
  it.each([
    ['AMESH_DIR', '/tmp/x', 'AMESH_DIR has no effect. Did you mean AUTH_MESH_DIR?'],
    ['AMESH_PASSPHRASE', 'horse', 'AMESH_PASSPHRASE has no effect. Did you mean AUTH_MESH_PASSPHRASE?'],
    [
      'AUTH_MESH_PASSPHRASE_FILE',
      '/tmp/x',
      'AUTH_MESH_PASSPHRASE_FILE has no effect. Did you mean AMESH_PASSPHRASE_FILE?',
    ],
    ['AUTH_MESH_HOSTS', 'a.example', 'AUTH_MESH_HOSTS has no effect. Did you mean AMESH_HOSTS?'],
  ])('that contains %s=%j, which has no effect', async (name, value, warning) => {
    const machine = await createMachine();
    await machine.init('a');
    const env = { [name]: value };
    expect((await machine.amesh(['whoami'], { env })).stderr).toBe(`! ${warning}\n`);
    expect((await machine.amesh(['revoke', 'x', '--yes'], { env })).stderr).toMatch(/^! .+\n✗ /);
    expect((await machine.amesh(['whoami', '--quiet'], { env })).stderr).toBe('');
    const json = await machine.amesh(['whoami', '--json'], { env });
    expect(json.stderr).toBe(`! ${warning}\n`);
    expect(objectOf(json)).toMatchObject({ ok: true, dir: machine.dir });
  });
});

it('has the exit codes that scripts branch on', () => {
  expect(EXIT).toEqual({
    ok: 0,
    failure: 1,
    usage: 2,
    relayUnreachable: 3,
    codeUnusable: 4,
    peerGone: 5,
    codesDiffer: 6,
    tampering: 7,
    declined: 8,
    busy: 9,
    noIdentity: 10,
    no: 11,
    interrupted: 130,
  });
});

it('exits with 9 if another process holds the lock', async () => {
  const machine = await createMachine();
  const peer = await createMachine();
  await machine.init('a');
  const { publicKey } = await peer.init('b');
  const lock = await FileLock.take(join(machine.dir, 'allow_list.json'), new Uint8Array());
  try {
    const line = `amesh-p256 ${publicKey} b`;
    const ran = await machine.amesh(['trust', 'add', '--role', 'controller', line], { isProcess: true });
    expect(ran.code).toBe(9);
    expect(ran.stderr).toContain('Another process holds the lock');
    expect(ran.stderr.match(/No changes were made\./g)).toHaveLength(1);
    expect((await machine.allowList()).devices).toEqual([]);
  } finally {
    lock.release();
  }
});

it('ends quietly if nobody reads its output any more', async () => {
  const machine = await createMachine();
  await machine.init('a');
  const command = `"${process.execPath}" "${BIN}" whoami | true`;
  const child = spawn('sh', ['-c', command], { env: machine.env() });
  expect(await text(child.stderr)).toBe('');
});
