import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { bundleOf } from './bundle';
import { isPacked } from './packed';
import { findRuntime, type Runtime } from './runtimes';

const ROOT = resolve(import.meta.dirname, '../..');

/** A server on a free loopback port, in a process of its own. */
export interface RuntimeServer {
  readonly port: number;
  /** What it has written to stderr. */
  readonly stderr: () => string;
  close(): Promise<void>;
}

/** A real runtime; null, and a line in the output, if it is not installed. In CI that is a failure. */
export async function requireRuntime(name: Runtime['name']): Promise<Runtime | null> {
  const runtime = await findRuntime(name);
  if (runtime.version !== null) return runtime;
  if (process.env.CI) throw new Error(`${name} is a development package and has to run in CI.`);
  console.warn(`${name} is not installed: its tests are skipped.`);
  return null;
}

/**
 * Where the servers of test/** run. On Workers the adapters take a sealed list alone, so the vectors' list needs the sources
 * there; test/workers has a sealed one, and the packages.
 */
export const serverRuntimes: readonly Runtime['name'][] = isPacked
  ? ['node', 'bun', 'deno']
  : ['node', 'bun', 'deno', 'workerd'];

/** What a Worker is bundled with and bound to. */
export interface WorkerdOptions {
  /** Lines of the worker's definition in workerd's configuration, such as bindings. */
  readonly worker?: string;
  /** Further services of the configuration, each with a comma behind it. */
  readonly services?: string;
  /** Takes the built packages and not the sources. */
  readonly isBuilt?: boolean;
  /** Of workerd; default: a free one. */
  readonly port?: number;
  /** What workerd has itself, or the script never comes to. */
  readonly external?: string[];
}

/**
 * Starts a script of test/** on a runtime, bundled from the sources with the crypto that the runtime would choose. On
 * Bun and Deno it prints `listening <port>`; for workerd it exports a handler.
 */
export async function startServer(
  runtime: Runtime,
  script: string,
  options: WorkerdOptions & { readonly env?: NodeJS.ProcessEnv } = {},
): Promise<RuntimeServer> {
  const folder = await mkdtemp(join(tmpdir(), `amesh-${runtime.name}-`));
  const isWorker = runtime.name === 'workerd';
  const outfile = join(folder, 'main.mjs');
  const bundle = await bundleOf(resolve(ROOT, script), {
    target: 'es2022',
    external: options.external ?? [],
    ...(options.isBuilt ? { tsconfigRaw: '{}' } : { tsconfig: join(ROOT, 'tsconfig.json') }),
    ...(isWorker
      ? {
          platform: 'browser',
          conditions: ['workerd', 'worker'],
          ...(options.isBuilt || isPacked
            ? {}
            : {
                alias: {
                  '#crypto': join(ROOT, 'src/core/crypto/web.ts'),
                  '#hints': join(ROOT, 'src/core/hints/hints.web.ts'),
                  '#gather': join(ROOT, 'src/core/gather/gather.web.ts'),
                },
              }),
        }
      : { platform: 'node' }),
  });
  await writeFile(outfile, bundle);
  let args = [outfile];
  if (isWorker) {
    args = [join(folder, 'config.capnp'), '--control-fd=1'];
    await writeFile(args[0] as string, workerdConfig(options));
  }
  const child = runtime.spawn(args, { HOME: folder, NO_COLOR: '1', ...options.env });
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const close = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 20 });
  };
  try {
    return { port: await portOf(child, () => stderr), stderr: () => stderr, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The port that the process says it listens on. */
async function portOf(child: ChildProcess, stderr: () => string): Promise<number> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  for await (const line of lines) {
    const port = /^listening (\d+)$|"event":"listen".*"port":(\d+)/.exec(line);
    if (port !== null) {
      child.stdout?.resume();
      return Number(port[1] ?? port[2]);
    }
  }
  throw new Error(`The server has ended: ${stderr()}`);
}

function workerdConfig({ worker = '', services = '', port = 0 }: WorkerdOptions): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "internet", network = (allow = ["public", "private"])),
    ${services}
    (name = "main", worker = (
      modules = [(name = "main.mjs", esModule = embed "main.mjs")],
      compatibilityDate = "2026-06-01",
      ${worker}
    )),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}
