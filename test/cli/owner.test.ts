import { execFileSync, spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createIdentity, toTrustLine } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Command } from '../support/command';
import { BIN, type Machine, objectOf, type Ran, useMachines } from './amesh';

const createMachine = useMachines();
/** A user that no machine has, and another one. */
const [OWNER, EVE] = [54_321, 54_322];
const isRoot = process.getuid?.() === 0;

const ROOT = new URL('../../', import.meta.url).pathname;
const ACTING = 'Acting as uid 54321, who owns ';

/** The command in a folder that nobody but root may enter, as /root is, with all the packages beside it. */
let closed: string;
let bin: string[];
beforeAll(async () => {
  closed = await mkdtemp(join(tmpdir(), 'amesh-closed-'));
  await symlink(ROOT, join(closed, 'x'));
  const flags = ['--preserve-symlinks', '--preserve-symlinks-main'];
  bin = [...flags, join(closed, 'x', 'src/cli/bin/amesh.mjs')];
});
afterAll(() => rm(closed, { recursive: true, maxRetries: 20 }));

/** A machine whose folder is another user's, and the way to it open. */
async function createTheirs(uid = OWNER): Promise<Machine> {
  const machine = await createMachine();
  const top = tmpdir();
  for (let path = dirname(machine.dir); path !== top && path !== '/'; path = dirname(path))
    await chmod(path, 0o755);
  await mkdir(machine.dir, { mode: 0o700 });
  await chown(machine.dir, uid, uid);
  return machine;
}

async function run(command: string, words: readonly string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawn(command, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const code = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await code, stdout, stderr };
}

describe.skipIf(!isRoot)('root in the folder of another user', () => {
  it('acts as that user, says so, and no longer reads files of a package below /root', async () => {
    const machine = await createTheirs();
    const peer = await createIdentity(join(dirname(machine.dir), 'peer'), {}, { friendlyName: 'peer' });
    const amesh = (...args: string[]) => run(process.execPath, [...bin, ...args], machine.env());
    expect((await amesh('init', '--name', 'server')).stderr).toContain(`  ${ACTING}${machine.dir}\n`);
    for (const command of [
      ['trust', 'add', '--role', 'controller', toTrustLine(peer)],
      ['list'],
      ['config', 'relay', 'ws://127.0.0.1:1/ws'],
      ['doctor', 'http://127.0.0.1:1/health'],
      ['provision', '--name', 'a'],
      ['grant', '--name', 'b'],
      ['tokens', 'cancel', 'nobody'],
      ['revoke', 'peer', '--yes'],
      ['trust', 'reset', '--yes'],
    ]) {
      const ran = await amesh(...command);
      expect(`${ran.stdout}${ran.stderr}`).not.toMatch(/ERR_|Cannot find|amesh itself failed|EACCES| {4}at /);
      const fails = ['doctor', 'cancel'].some((word) => command.includes(word));
      expect({ command, ok: ran.code === 0, ran }).toMatchObject({ command, ok: !fails });
    }
    for (const name of await readdir(machine.dir, { recursive: true })) {
      const { uid, gid } = await stat(join(machine.dir, name));
      expect({ name, uid, gid }).toEqual({ name, uid: OWNER, gid: OWNER });
    }
  }, 300_000);

  it('stays that user, even while it runs a relay and connects to one', async () => {
    const [target, caller] = [await createTheirs(), await createTheirs()];
    for (const machine of [target, caller])
      await run(process.execPath, [...bin, 'init', '--name', 'a'], machine.env());
    const listening = new Command(target, ['listen', '--serve', '--port', '0', '--json'], { bin });
    const commands = await listening.until(/"commands":\["amesh (invite \d+ --relay \S+?)"/);
    const inviting = new Command(caller, [...commands.split(' '), '--json', '--yes', '--host', 'localhost'], {
      bin,
    });
    await inviting.until(/"event":"verification_code"/); // over a WebSocket, which is a package of its own
    for (const { pid } of [listening, inviting]) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      expect(/^Uid:\t(.*)$/m.exec(status)?.[1]).toBe([OWNER, OWNER, OWNER, OWNER].join('\t'));
      expect(/^Gid:\t(.*)$/m.exec(status)?.[1]).toBe([OWNER, OWNER, OWNER, OWNER].join('\t'));
      expect(/^Groups:\t(.*)$/m.exec(status)?.[1]?.trim()).toBe(String(OWNER));
      expect(/^CapEff:\t(.*)$/m.exec(status)?.[1]).toMatch(/^0+$/);
    }
    for (const command of [inviting, listening]) {
      command.kill('SIGINT');
      await command.ended;
    }
  });

  it('uses a proxy as that user', async () => {
    const machine = await createTheirs();
    await run(process.execPath, [...bin, 'init', '--name', 'a'], machine.env());
    const env = machine.env({ HTTP_PROXY: 'http://127.0.0.1:1' });
    for (const command of [
      ['listen', '--relay', 'ws://relay.corp.example/ws'],
      ['doctor', 'http://api.corp.example/'],
    ]) {
      const ran = await run(process.execPath, [...bin, ...command], env);
      expect(`${ran.stdout}${ran.stderr}`).toContain(
        'The proxy 127.0.0.1:1, from HTTP_PROXY, does not respond (ECONNREFUSED).',
      );
    }
  });

  it('never keeps the group of root, even if only the user of the folder was changed', async () => {
    const machine = await createTheirs();
    await chown(machine.dir, OWNER, 0);
    await machine.amesh(['init', '--name', 'a']);
    expect((await stat(join(machine.dir, 'identity.json'))).gid).toBe(OWNER);
  });

  it('creates a folder if there is none yet, in a folder of that user', async () => {
    const machine = await createTheirs();
    const env = { AUTH_MESH_DIR: join(machine.dir, 'new') };
    expect((await machine.amesh(['init', '--name', 'a'], { env })).stderr).toContain(ACTING + machine.dir);
    expect((await stat(env.AUTH_MESH_DIR)).uid).toBe(OWNER);
  });

  it.each([
    [['init', '--name', 'a']],
    [['whoami']],
    [['list']],
    [['revoke', 'peer', '--yes']],
    [['config', 'relay', 'ws://127.0.0.1:1/ws']],
    [['trust', 'reset', '--yes']],
  ])('is not led elsewhere by a link of a third user: amesh %j', async (command) => {
    const machine = await createTheirs();
    const eves = await createTheirs(EVE);
    const link = join(eves.dir, 'link');
    await symlink(machine.dir, link);
    const ran = await machine.amesh(command, { env: { AUTH_MESH_DIR: link } });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(`✗ ${eves.dir} belongs to uid 54322, who can replace ${link}.\n`);
    expect(ran.stderr).toContain('export AUTH_MESH_DIR=');
    expect(await readdir(machine.dir)).toEqual([]);
  });

  it('refuses its own folder inside a folder of another user', async () => {
    const eves = await createTheirs(EVE);
    const dir = join(eves.dir, 'amesh');
    await createIdentity(dir, { AMESH_FOLDER_OWNERS: String(EVE) }, { friendlyName: 'a' });
    const refused = await eves.amesh(['whoami', '--json'], { env: { AUTH_MESH_DIR: dir } });
    expect(objectOf(refused)).toMatchObject({ error: { code: 'folder_unsafe' } });
    const env = { AUTH_MESH_DIR: dir, AMESH_FOLDER_OWNERS: String(EVE) };
    expect((await eves.amesh(['whoami'], { env })).code).toBe(0);
  });

  it.skipIf(!hasSetpriv())(
    'says in one line if it may not, and does not need it for help (cap_drop: ALL)',
    async () => {
      const machine = await createTheirs();
      const amesh = (...args: string[]) =>
        run(
          'setpriv',
          ['--bounding-set=-all', '--inh-caps=-all', process.execPath, BIN, ...args],
          machine.env(),
        );
      for (const args of [['--help'], ['--version'], ['list', '--help'], ['complete', 'bash']])
        expect(await amesh(...args)).toMatchObject({ code: 0, stderr: '' });
      for (const args of [['init', '--name', 'a'], ['list'], ['doctor']]) {
        expect(await amesh(...args)).toEqual({
          code: 1,
          stdout: '',
          stderr: `✗ ${machine.dir} belongs to uid 54321, and root cannot become that user here (EPERM).\n  Run amesh as that user: with sudo -u, or in a container with --user.\n  No changes were made.\n`,
        });
      }
      await chown(machine.dir, 0, 0);
      expect((await amesh('init', '--name', 'a')).code).toBe(0);
    },
  );
});

describe('a folder that everybody can write', () => {
  it.each([
    [['init', '--name', 'b', '--force']],
    [['trust', 'add', '--role', 'controller', 'x']],
    [['trust', 'export']],
    [['trust', 'reset', '--yes']],
    [['revoke', 'peer', '--yes']],
    [['listen']],
    [['invite', '123456']],
    [['provision', '--name', 'a']],
    [['grant', '--name', 'a']],
    [['tokens', 'cancel', 'a']],
    [['config', 'hosts', 'a.example']],
    [['config', 'relay', '--clear']],
  ])('is refused by commands that change something: amesh %j', async (command) => {
    const machine = await createMachine('a');
    await chmod(dirname(machine.dir), 0o777);
    const ran = await machine.amesh(command);
    expect(ran.code).toBe(1);
    const parent = dirname(machine.dir);
    expect(ran.stderr).toContain(
      `✗ ${parent} can be written by everybody (0777), who can replace ${machine.dir}.\n`,
    );
    expect(ran.stderr).toMatch(/^ {2}chmod (?:go-w|\+t) \//m);
    await chmod(parent, 0o700);
  });

  it('is accepted by commands that only read, in a container for example', async () => {
    const machine = await createMachine('a');
    await chmod(machine.dir, 0o777);
    for (const command of ['whoami', 'list', 'status', 'tokens', 'config'])
      expect((await machine.amesh([command])).code).toBe(0);
    const env = { AMESH_FOLDER_OWNERS: 'any' };
    expect((await machine.amesh(['config', 'hosts', 'a.example'], { env })).code).toBe(0);
    const looked = await machine.amesh(['doctor']);
    expect(looked.stdout).toContain(`! folder    ${machine.dir} can be written by everybody (0777).\n`);
    expect(looked.stdout).toContain(`Fix: chmod 700 ${machine.dir}\n`);
  });
});

function hasSetpriv(): boolean {
  if (process.env.CI) return true;
  try {
    execFileSync('setpriv', ['--version']);
    return true;
  } catch {
    console.warn('The test without capabilities is skipped: there is no setpriv in the PATH.');
    return false;
  }
}
