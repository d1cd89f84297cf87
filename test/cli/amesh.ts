import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileFunction, constants } from 'node:vm';
import { createIdentity, type DeviceIdentity, openDevice } from '@authmesh/sdk/admin';
import { afterAll, beforeAll } from 'vitest';
import { ensureBuilt } from '../support/built';
import { startInProcess } from '../support/in-process';
import { documentOf, type ListDocument } from '../support/list-document';

export const BIN = fileURLToPath(new URL('../../src/cli/bin/amesh.mjs', import.meta.url));

/** `AMESH_CLI=process` starts a process for each command; without it most of them run in this one. */
const isEachAProcess = process.env.AMESH_CLI === 'process';

/** What decides whether a command needs a process of its own. */
export interface Needs {
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs; default here. */
  readonly cwd?: string;
  /** A real process in each run of the tests: for what a process has alone, such as its end. */
  readonly isProcess?: boolean;
}

/** What a run of the command has left behind. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions extends Needs {
  /** What comes through stdin; default nothing. */
  readonly input?: string;
}

/** A machine with a folder of its own, and the real command on it. */
export class Machine {
  constructor(readonly dir: string) {}

  /** The environment in which the command runs: nothing of amesh in it but this folder, and no SSH agent. */
  env(more: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
    const own = Object.entries(process.env).filter(
      ([name]) => !/^(?:AUTH_MESH|AMESH|SSH)_|^(?:NO_COLOR|REDIS_URL)$|^(?:https?|all|no)_proxy$/i.test(name),
    );
    return { ...Object.fromEntries(own), AUTH_MESH_DIR: this.dir, ...more };
  }

  /** A command as this machine prints it for itself. */
  here(command: string): string {
    return `AUTH_MESH_DIR=${this.dir} ${command}`;
  }

  async amesh(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const { input = '', env = {} } = options;
    if (this.needsProcess(options)) return this.#start(args, options);
    const written = { stdout: '', stderr: '' };
    const running = startInProcess(await builtMain(), args, this.env(env), {
      stdout: (text) => {
        written.stdout += text;
      },
      stderr: (text) => {
        written.stderr += text;
      },
    });
    running.type(input);
    running.end();
    return { code: await running.ended, ...written };
  }

  /** Some things are the whole process's: its working directory, its user, and what Node itself reads. */
  needsProcess({ env = {}, cwd, isProcess = false }: Needs): boolean {
    if (isEachAProcess || isProcess || cwd !== undefined) return true;
    if (Object.keys(env).some((name) => /^(?:NODE_.*|HOME|TZ)$/.test(name))) return true;
    return ownerOf(env.AUTH_MESH_DIR ?? this.dir) !== process.geteuid?.();
  }

  async #start(args: readonly string[], { input = '', env, cwd }: RunOptions): Promise<Ran> {
    const child = spawn(process.execPath, [BIN, ...args], { env: this.env(env), cwd });
    child.stdin.on('error', () => {}); // most commands never read it
    child.stdin.end(input);
    const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    return { code, stdout, stderr };
  }

  /** An identity without a process: where `init` is not what is tested. */
  init(friendlyName: string): Promise<DeviceIdentity> {
    return createIdentity(this.dir, {}, { friendlyName });
  }

  async allowList(): Promise<ListDocument> {
    return documentOf((await openDevice(this.dir, {})).trust);
  }
}

/** The user whose is a folder, or the one in which it would be made. */
function ownerOf(dir: string): number {
  try {
    return statSync(dir).uid;
  } catch {
    return dir === dirname(dir) ? -1 : ownerOf(dirname(dir));
  }
}

type Main = (argv: readonly string[]) => Promise<number>;

let main: Promise<Main> | undefined;

/** What the binary runs: from the files that were built, and not from their sources. */
export function builtMain(): Promise<Main> {
  main ??= importBuilt(pathToFileURL(join(dirname(BIN), '../dist/index.mjs')).href).then((it) => it.main);
  return main;
}

/** Node's own import: that of Vitest would transform each file. */
const importBuilt = compileFunction('return import(url)', ['url'], {
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
}) as (url: string) => Promise<{ main: Main }>;

/**
 * Builds the command first, and removes every folder after the last test of the file.
 *
 * @returns makes a machine: with an identity of the name given, or with nothing
 */
export function useMachines(): (friendlyName?: string) => Promise<Machine> {
  let root = '';
  beforeAll(async () => {
    await ensureBuilt();
    root = await mkdtemp(join(tmpdir(), 'amesh-cli-'));
  }, 180_000);
  afterAll(() => rm(root, { recursive: true, force: true, maxRetries: 20 }));
  return async (friendlyName) => {
    const machine = new Machine(join(await mkdtemp(join(root, 'machine-')), 'amesh'));
    if (friendlyName !== undefined) await machine.init(friendlyName);
    return machine;
  };
}

/** The one object that `--json` prints. */
export function objectOf({ stdout }: Ran): Record<string, unknown> {
  if (!/^\{.*\}\n$/.test(stdout)) throw new Error(`Not one object on one line: ${stdout}`);
  return JSON.parse(stdout);
}
