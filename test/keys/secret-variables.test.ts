import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createIdentity } from '@authmesh/sdk/admin';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BIN, useMachines } from '../cli/amesh';
import { ensureBuilt } from '../support/built';
import { hasTerminal, Terminal } from '../support/terminal';

const SECRET = 'correct horse battery staple';
const ROOT = resolve(import.meta.dirname, '../..');
const createMachine = useMachines();

let root: string;
let dir: string;
beforeAll(() => ensureBuilt(), 180_000);
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  dir = join(root, 'amesh');
  await mkdir(join(root, 'node_modules/@authmesh'), { recursive: true });
  await symlink(ROOT, join(root, 'node_modules/@authmesh/sdk'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

/** Runs a program with the passphrase in its environment. Its last line is its result. */
async function run(program: string, env: Record<string, string> = {}) {
  await writeFile(join(root, 'program.mjs'), `import { createAmesh } from '@authmesh/sdk';\n${program}`);
  const options = {
    cwd: root,
    env: { AUTH_MESH_DIR: dir, AUTH_MESH_PASSPHRASE: SECRET, DEBUG: 'amesh', ...env },
  };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['program.mjs'], options);
  return { result: JSON.parse(stdout.trim().split('\n').at(-1) as string), said: `${stdout}${stderr}` };
}

describe('a passphrase in AUTH_MESH_PASSPHRASE', () => {
  beforeEach(() => createIdentity(dir, { AUTH_MESH_PASSPHRASE: SECRET }, { friendlyName: 'api' }));

  it('leaves process.env once the key is open, and still opens it for a second instance', async () => {
    const { result } = await run(`
      const before = process.env.AUTH_MESH_PASSPHRASE !== undefined;
      const first = await createAmesh().identity();
      const isGone = !('AUTH_MESH_PASSPHRASE' in process.env);
      const second = await createAmesh({ env: process.env }).identity();
      console.log(JSON.stringify([before, isGone, first.deviceId === second.deviceId]));`);
    expect(result).toEqual([true, true, true]);
  });

  it('is not in a child process or a diagnostic report after that', async () => {
    const { result, said } = await run(`
      import { execFileSync } from 'node:child_process';
      await createAmesh().identity();
      const child = execFileSync(process.execPath, ['-p', 'JSON.stringify(process.env)'], { encoding: 'utf8' });
      const report = JSON.stringify(process.report.getReport());
      console.log(JSON.stringify([child, report].map((text) => text.includes('horse'))));`);
    expect(result).toEqual([false, false]);
    expect(said).not.toContain('horse');
  });

  it('opens the key in a thread that starts later', async () => {
    const { result } = await run(`
      import { Worker, isMainThread, parentPort } from 'node:worker_threads';
      const { deviceId } = await createAmesh().identity();
      if (isMainThread) {
        const worker = new Worker(new URL(import.meta.url));
        const message = await new Promise((done, fail) => worker.once('message', done).once('error', fail));
        console.log(JSON.stringify([message.deviceId === deviceId, message.isGone]));
      } else {
        parentPort.postMessage({ deviceId, isGone: !('AUTH_MESH_PASSPHRASE' in process.env) });
      }`);
    expect(result).toEqual([true, true]);
  });

  it('is replaced by a new value that the program sets', async () => {
    const { result } = await run(`
      await createAmesh().identity();
      process.env.AUTH_MESH_PASSPHRASE = 'wrong';
      console.log(JSON.stringify(await createAmesh().identity().catch(({ code }) => code)));`);
    expect(result).toBe('passphrase_wrong');
  });

  it('stays in an environment object that the program gives', async () => {
    const { result } = await run(`
      const env = { ...process.env };
      await createAmesh({ env }).identity();
      console.log(JSON.stringify([env.AUTH_MESH_PASSPHRASE, process.env.AUTH_MESH_PASSPHRASE].map((it) => it?.length)));`);
    expect(result).toEqual([SECRET.length, SECRET.length]);
  });

  it('is in no file and no output of the commands that read it, which read it as often as they need', async () => {
    const machine = await createMachine();
    const env = { AUTH_MESH_PASSPHRASE: SECRET, DEBUG: 'amesh' };
    for (const args of [['init', '--name', 'api'], ['status'], ['doctor'], ['keys'], ['trust', 'export']]) {
      const { stdout, stderr } = await machine.amesh(args, { env, isProcess: true });
      expect(stdout + stderr).not.toContain('horse');
      expect(stdout + stderr).not.toContain('passphrase_');
    }
    const entries = await readdir(machine.dir, { recursive: true, withFileTypes: true });
    for (const entry of entries.filter((each) => each.isFile()))
      expect(await readFile(join(entry.parentPath, entry.name), 'latin1')).not.toContain('horse');
  });
});

describe('amesh init --passphrase', () => {
  it.skipIf(!hasTerminal)('asks twice on a terminal, and shows nothing of it', async () => {
    const machine = await createMachine();
    const terminal = new Terminal(
      [process.execPath, BIN, 'init', '--name', 'api', '--passphrase'],
      machine.env(),
    );
    await terminal.until(/New passphrase: /);
    terminal.type(`${SECRET}\r`);
    await terminal.until(/Again: /);
    terminal.type(`${SECRET}\r`);
    expect(await terminal.ended).toBe(0);
    expect(terminal.raw).not.toContain('horse');
    expect(await readdir(machine.dir)).not.toContain('.passphrase');
    expect((await machine.amesh(['whoami'])).stderr).toContain('no passphrase was supplied');
    expect((await machine.amesh(['whoami'], { env: { AUTH_MESH_PASSPHRASE: SECRET } })).code).toBe(0);
  });

  it.skipIf(!hasTerminal)('makes nothing if the two differ', async () => {
    const machine = await createMachine();
    const terminal = new Terminal(
      [process.execPath, BIN, 'init', '--name', 'api', '--passphrase'],
      machine.env(),
    );
    await terminal.until(/New passphrase: /);
    terminal.type('one\r');
    await terminal.until(/Again: /);
    terminal.type('two\r');
    await terminal.until(/The two differ/);
    expect(await terminal.ended).toBe(2);
    await expect(readdir(machine.dir)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each([
    ['without a terminal', [], {}, 'There is no terminal'],
    ['next to AUTH_MESH_PASSPHRASE', [], { AUTH_MESH_PASSPHRASE: 'x' }, 'AUTH_MESH_PASSPHRASE is set'],
    ['with another backend', ['--backend', 'tpm2'], {}, 'only for --backend encrypted-file'],
  ])('is a usage error %s', async (_, more, env, expected) => {
    const machine = await createMachine();
    const refused = await machine.amesh(['init', '--name', 'api', '--passphrase', ...more], {
      env: env as never,
    });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain(expected);
  });
});
