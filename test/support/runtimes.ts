import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** A JavaScript runtime that is a development package, or Node itself. */
export interface Runtime {
  readonly name: 'node' | 'bun' | 'deno';
  /** null where it is not installed, or does not run here. */
  readonly version: string | null;
  /** Runs a script to its end. Rejects with its stderr where it fails. */
  run(
    script: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
  ): Promise<{ stdout: string; stderr: string }>;
}

const require = createRequire(import.meta.url);
const execute = promisify(execFile);

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
} satisfies Record<Runtime['name'], () => (string | null)[]>;

const RUN = {
  node: [],
  bun: ['run'],
  deno: ['run', '--allow-all', '--no-prompt', '--node-modules-dir=manual'],
};

export async function findRuntime(name: Runtime['name']): Promise<Runtime> {
  for (const path of BINARIES[name]()) {
    if (path === null || !existsSync(path)) continue;
    const print = `console.log(globalThis.Bun?.version ?? globalThis.Deno?.version.deno ?? process.version)`;
    const version = await execute(path, name === 'deno' ? ['eval', print] : ['-e', print]).then(
      ({ stdout }) => stdout.trim(),
      () => null, // a placeholder that an install script would have replaced
    );
    if (version === null) continue;
    return {
      name,
      version,
      run: (script, args, env) => execute(path, [...RUN[name], script, ...args], { env, maxBuffer: 1e8 }),
    };
  }
  return { name, version: null, run: () => Promise.reject(new Error(`There is no ${name} here.`)) };
}

function besides(manifest: string, path: string): string | null {
  try {
    return join(dirname(require.resolve(manifest)), path);
  } catch {
    return null;
  }
}
