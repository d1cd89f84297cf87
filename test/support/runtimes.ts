import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** A JavaScript runtime that is a development package, or Node itself. */
export interface Runtime {
  readonly name: 'node' | 'bun' | 'deno' | 'workerd';
  /** null where it is not installed, or does not run here. */
  readonly version: string | null;
  /** Runs a script to its end. Rejects with its stderr where it fails. */
  run(
    script: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ): Promise<{ stdout: string; stderr: string }>;
  /** Starts a script, or what else its command takes, and leaves it running. */
  spawn(args: readonly string[], env: NodeJS.ProcessEnv, cwd?: string): ChildProcess;
}

const require = createRequire(import.meta.url);
const execute = promisify(execFile);

/** As workerd calls it. */
const CPU = process.arch === 'x64' ? '64' : process.arch;

/** Where the binary lies: the install script of a package puts it beside itself, if it was allowed to run. */
const BINARIES = {
  node: () => [process.execPath],
  bun: () => [
    besides('bun/package.json', 'bin/bun.exe'),
    besides(`@oven/bun-${process.platform}-${process.arch}/package.json`, 'bin/bun'),
  ],
  deno: () => [
    besides('deno/package.json', 'deno'),
    besides(`@deno/${process.platform}-${process.arch}-glibc/package.json`, 'deno'),
    besides(`@deno/${process.platform}-${process.arch}/package.json`, 'deno'),
  ],
  workerd: () => [besides(`@cloudflare/workerd-${process.platform}-${CPU}/package.json`, 'bin/workerd')],
} satisfies Record<Runtime['name'], () => (string | null)[]>;

const RUN = {
  node: [],
  bun: ['run'],
  deno: ['run', '--allow-all', '--no-prompt', '--node-modules-dir=manual'],
  workerd: ['serve'],
};

const PRINT = 'console.log(globalThis.Bun?.version ?? globalThis.Deno?.version.deno ?? process.version)';
const VERSION = { node: ['-e', PRINT], bun: ['-e', PRINT], deno: ['eval', PRINT], workerd: ['--version'] };

const found = new Map<Runtime['name'], Promise<Runtime>>();

/** Asked for its version once in each process of the tests. */
export function findRuntime(name: Runtime['name']): Promise<Runtime> {
  const runtime = found.get(name) ?? find(name);
  found.set(name, runtime);
  return runtime;
}

async function find(name: Runtime['name']): Promise<Runtime> {
  for (const path of BINARIES[name]()) {
    if (path === null || !existsSync(path)) continue;
    const version = await execute(path, VERSION[name]).then(
      ({ stdout }) => stdout.trim(),
      () => null, // a placeholder that an install script would have replaced
    );
    if (version === null) continue;
    return {
      name,
      version,
      run: (script, args, env) => execute(path, [...RUN[name], script, ...args], { env, maxBuffer: 1e8 }),
      spawn: (args, env, cwd) =>
        spawn(path, [...RUN[name], ...args], { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] }),
    };
  }
  const missing = () => new Error(`There is no ${name} here.`);
  return {
    name,
    version: null,
    run: () => Promise.reject(missing()),
    spawn() {
      throw missing();
    },
  };
}

function besides(manifest: string, path: string): string | null {
  try {
    return join(dirname(require.resolve(manifest)), path);
  } catch {
    return null;
  }
}
