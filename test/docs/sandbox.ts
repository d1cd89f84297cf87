import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRelay, type Relay } from '@authmesh/relay';
import { addDevice, createIdentity, openDevice, readIdentity, toTrustLine } from '@authmesh/sdk/admin';
import { isFull } from '../support/full';
import { listen } from '../support/listen';
import { findRuntime, type Runtime } from '../support/runtimes';
import { Terminal } from '../support/terminal';
import { startKv, startWorker } from '../support/worker';
import { ROOT } from './blocks';
import { Host } from './host';

export type Role = 'target' | 'controller';

/** A project with the built packages, into which the documents' TypeScript is written. */
export class Project {
  /** Each side has one. With AMESH_FULL each program is a process of its own. */
  readonly hosts = isFull ? undefined : { server: new Host(), client: new Host() };

  private constructor(readonly dir: string) {}

  static async create(): Promise<Project> {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-docs-'));
    await writeFile(join(dir, 'package.json'), '{"type":"module"}');
    const modules = join(dir, 'node_modules');
    await mkdir(join(modules, '@authmesh'), { recursive: true });
    for (const name of await readdir(join(ROOT, 'node_modules'))) {
      if (name !== '@authmesh') await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    }
    // Copies, as an installation has them: what is built in the meantime changes nothing here.
    await copyPackage(ROOT, join(modules, '@authmesh/sdk'));
    const cli = join(modules, '@authmesh/cli');
    await copyPackage(join(ROOT, 'src/cli'), cli);
    await symlink(join(ROOT, 'src/cli/node_modules'), join(cli, 'node_modules'));
    await copyPackage(join(ROOT, 'relay'), join(modules, '@authmesh/relay'));
    return new Project(dir);
  }

  /** The command as npm would link it. */
  get cli(): string {
    return join(this.dir, 'node_modules/@authmesh/cli/bin/amesh.mjs');
  }

  /** The relay's command, likewise. */
  get relay(): string {
    return join(this.dir, 'node_modules/@authmesh/relay/bin/amesh-relay.mjs');
  }

  async write(name: string, source: string): Promise<string> {
    const path = join(this.dir, name);
    await writeFile(path, source);
    return path;
  }

  /**
   * What the compiler says against these files, in its strictest mode; with AMESH_FULL also against our own declarations, and
   * those of every dependency.
   *
   * @param isWeb with the types of the Web platform, which Hono and Workers take for granted
   */
  async typeErrors(paths: readonly string[], isWeb: boolean): Promise<string[]> {
    const compilerOptions = {
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      target: 'es2023',
      lib: ['es2023', ...(isWeb ? ['dom', 'dom.iterable'] : [])],
      module: 'nodenext',
      esModuleInterop: true,
      noEmit: true,
      types: ['node'],
      // What that reads besides takes three times as long; our own declarations are also checked where they are packed.
      skipLibCheck: !isFull,
    };
    const config = await this.write(
      `${isWeb ? 'web' : 'node'}.json`,
      JSON.stringify({ compilerOptions, files: paths }),
    );
    const compiler = join(ROOT, 'node_modules/typescript7/bin/tsc');
    const child = spawn(process.execPath, [compiler, '--pretty', 'false', '-p', config], { cwd: this.dir });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    const [code] = await once(child, 'close');
    const found = output.split(/\n(?! )/).filter((line) => line !== '' && isChecked(line));
    return code === 0 || found.length > 0 || output !== '' ? found : [`The compiler ended with ${code}.`];
  }

  remove(): Promise<void> {
    this.hosts?.server.kill();
    this.hosts?.client.kill();
    return rm(this.dir, { recursive: true, maxRetries: 20 });
  }
}

/**
 * Packages whose own types do not compile here: without those of every service that unstorage knows, those of a browser, or those of a
 * newer version of what they are about.
 */
const INCOMPLETE = /\/node_modules\/(?:unstorage|h3|@types\/koa|@modelcontextprotocol\/sdk)\//;

/** Whether an error counts. */
function isChecked(line: string): boolean {
  const [path = ''] = line.split('(', 1);
  return !INCOMPLETE.test(path);
}

/** The two machines of a page, and what runs on them. */
export class Sandbox {
  #relay: Relay | undefined;
  #server: { hasEnded(): boolean; stop(): Promise<void>; log: string } | undefined;
  #worker: { close(): Promise<void> } | undefined;

  private constructor(
    readonly root: string,
    readonly project: Project,
    readonly port: number,
    readonly closedPort: number,
  ) {}

  /** @param paired whether the machines have identities and the target trusts the controller already */
  static async create(project: Project, { paired }: { paired: boolean }): Promise<Sandbox> {
    const root = await mkdtemp(join(tmpdir(), 'amesh-page-'));
    const [open, closed] = await Promise.all([listen(() => {}), listen(() => {})]);
    await Promise.all([open.close(), closed.close()]);
    const sandbox = new Sandbox(root, project, open.port, closed.port);
    await mkdir(sandbox.folder('bin'), { recursive: true });
    await mkdir(sandbox.folder('here'), { recursive: true });
    await symlink(project.cli, join(root, 'bin/amesh'));
    await symlink(project.relay, join(root, 'bin/amesh-relay'));
    if (paired) await sandbox.#pair();
    return sandbox;
  }

  folder(name: Role | 'here' | 'bin' | 'home'): string {
    return name === 'target' || name === 'controller'
      ? join(this.root, name, '.amesh')
      : join(this.root, name);
  }

  /** What the running server has printed. */
  get log(): string {
    return this.toDoc(this.#server?.log ?? '');
  }

  /** The documents' ports and keys, as they are in this sandbox. */
  async toReal(text: string): Promise<string> {
    const lines = await Promise.all((['target', 'controller'] as const).map((role) => this.#trustLine(role)));
    return text
      .replace(/\.listen\(3000\b/g, `.listen(${this.port}, '127.0.0.1'`)
      .replace(/\b3000\b/g, String(this.port))
      .replace(/\b3999\b/g, String(this.closedPort))
      .replace(/amesh-p256 [A-Za-z0-9_-]{44} ([\w-]+)/g, (line, name) => {
        return lines.find((real) => real?.endsWith(` ${name}`)) ?? line;
      });
  }

  /** Text of this sandbox as a document would have it. */
  toDoc(text: string): string {
    const folders = [this.folder('target'), this.folder('controller')];
    const named = folders
      .reduce((doc, folder) => doc.replaceAll(folder, '~/.amesh'), text)
      .replaceAll(this.folder('here'), '~/project');
    return named.replace(new RegExp(`\\b${this.port}\\b`, 'g'), '3000').replaceAll(this.root, '');
  }

  async serve(path: string, name: Runtime['name'] = 'node'): Promise<void> {
    await this.stop();
    const host = name === 'node' ? this.project.hosts?.server : undefined;
    const server = host ? await this.#serveOn(host, path) : await this.#spawn(path, name);
    for (let tries = 0; tries < 1200; tries++) {
      if (server.hasEnded()) throw new Error(`The server has ended:\n${server.log}`);
      if (await answers(this.port)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`The server does not listen:\n${server.log}`);
  }

  async #serveOn(host: Host, path: string) {
    const server = { log: '', hasEnded: () => code !== 0, stop: () => host.stop() };
    this.#server = server;
    const program = { path, folder: this.folder('here'), env: this.#env('target'), isServer: true };
    const hear = (text: string) => {
      server.log += text;
    };
    const code = await host.run(program, hear, 60_000);
    return server;
  }

  async #spawn(path: string, name: Runtime['name']) {
    const runtime = await findRuntime(name);
    const child = runtime.spawn([path], this.#env('target'), this.folder('here'));
    const server = {
      log: '',
      hasEnded: () => child.exitCode !== null,
      async stop() {
        if (child.exitCode !== null) return;
        child.kill();
        await once(child, 'exit');
      },
    };
    this.#server = server;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        server.log += chunk;
      });
    }
    return server;
  }

  /** A Worker that trusts whom the target trusts, in place of the target itself. */
  async serveWorker(script: string): Promise<void> {
    await this.stop();
    const list = await readFile(join(this.folder('target'), 'allow_list.json'), 'utf8');
    const [, AMESH_OWNER_KEY = ''] = (await this.#trustLine('target'))?.split(' ') ?? [];
    const kv = await startKv(list);
    // Only a Worker that exports the class can be bound to it.
    const hasClass = (await readFile(script, 'utf8')).includes('AmeshNonces');
    const start = () =>
      startWorker(
        { AMESH_OWNER_KEY, AMESH_HOSTS: `localhost:${this.port}` },
        { kv, script, isBuilt: true, port: this.port, ...(hasClass ? { nonces: 'in memory' } : {}) },
      );
    const worker = await whileTaken(start);
    this.#worker = {
      async close() {
        await worker.close();
        await kv.close();
      },
    };
  }

  async stop(): Promise<void> {
    await this.#worker?.close();
    this.#worker = undefined;
    const server = this.#server;
    this.#server = undefined;
    await server?.stop();
  }

  get serving(): boolean {
    return this.#server !== undefined;
  }

  /** Runs a program for Node to its end, as the controller. */
  async runNode(path: string): Promise<{ code: number; output: string }> {
    const host = this.project.hosts?.client;
    if (host === undefined) return this.run(process.execPath, [path], 'controller');
    let output = '';
    const program = { path, folder: this.folder('here'), env: this.#env('controller'), isServer: false };
    const code = await host.run(
      program,
      (text) => {
        output += text;
      },
      20_000,
    );
    return { code, output: this.toDoc(output) };
  }

  /** Runs a command to its end. */
  run(
    command: string,
    args: readonly string[],
    role: Role | 'here',
    timeout = 20_000,
  ): Promise<{ code: number; output: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: this.folder('here'),
        env: this.#env(role),
        stdio: ['ignore', 'pipe', 'pipe'],
        timeout,
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk) => {
          output += chunk;
        });
      }
      child.on('error', reject);
      child.on('close', (code) => resolve({ code: code ?? -1, output: this.toDoc(output) }));
    });
  }

  /** The URL of a relay that runs until the sandbox is removed. */
  async relay(): Promise<string> {
    this.#relay ??= createRelay();
    const { port } = await this.#relay.listen(0, '127.0.0.1');
    return `ws://127.0.0.1:${port}/ws`;
  }

  /** A command of amesh on a pseudo-terminal. */
  terminal(words: readonly string[], role: Role): Terminal {
    return new Terminal(words, { ...this.#env(role), LANG: 'C.UTF-8' });
  }

  async remove(): Promise<void> {
    await this.stop();
    await this.#relay?.close();
    await rm(this.root, { recursive: true, maxRetries: 20 });
  }

  #env(role: Role | 'here'): NodeJS.ProcessEnv {
    return {
      PATH: `${this.folder('bin')}:${join(process.execPath, '..')}:/usr/bin:/bin`,
      HOME: role === 'here' ? this.folder('home') : join(this.root, role),
    };
  }

  async #pair(): Promise<void> {
    const [controller, target] = [this.folder('controller'), this.folder('target')];
    const { deviceId, publicKey, friendlyName } = await createIdentity(
      controller,
      {},
      { friendlyName: 'laptop' },
    );
    await createIdentity(target, {}, { friendlyName: 'orders-api' });
    const { trust } = await openDevice(target, {});
    const peer = { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] } as const;
    await trust.update((list) => addDevice(list, peer, Math.floor(Date.now() / 1000)));
  }

  async #trustLine(role: Role): Promise<string | null> {
    const text = await readFile(join(this.folder(role), 'identity.json')).catch(() => null);
    if (text === null) return null;
    const identity = await readIdentity({
      read: async () => text,
      readPages: async () => [],
      swap: async () => false,
    });
    return identity === null ? null : toTrustLine(identity);
  }
}

async function copyPackage(from: string, to: string): Promise<void> {
  for (const name of ['package.json', 'bin', 'dist']) {
    await cp(join(from, name), join(to, name), { recursive: true, force: true }).catch((error) => {
      if (name !== 'bin' || error.code !== 'ENOENT') throw error; // the SDK has none
    });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Starts a server at a port that a connection of another program may have at the moment. */
async function whileTaken<T>(start: () => Promise<T>): Promise<T> {
  for (let left = 40; ; left--) {
    try {
      return await start();
    } catch (error) {
      if (left === 0 || !/already in use/i.test(String(error))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}
