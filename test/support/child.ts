import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { bundleOf } from './bundle';

/** A script of test/**, made runnable by node without a loader; the file is gone when the tests are. */
export interface Script {
  readonly path: string;
  start(args?: readonly string[], options?: StartOptions): Child;
  remove(): void;
}

export interface StartOptions {
  /** Default: an empty one, so that nothing of this machine's own amesh shows. */
  readonly env?: Readonly<Record<string, string>>;
  /** Which user runs it; root can read everything, and some tests are about what cannot be read. */
  readonly uid?: number;
  /** A file that node loads first. */
  readonly preload?: string;
}

/** A real process that speaks in lines. */
export interface Child {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly pid: number;
  /** What it has written so far, line by line. */
  readonly lines: readonly string[];
  readonly stderr: () => string;
  /** Waits for the first line that begins so, and gives what stands behind it. */
  line(prefix: string): Promise<string>;
  tell(line: string): void;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has ended and everything it wrote is here. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/**
 * @param path of a TypeScript file, from the root of the repository
 * @param missing packages that the script will not find
 */
export async function toScript(path: string, missing: string[] = []): Promise<Script> {
  const root = resolve(import.meta.dirname, '../..');
  const folder = mkdtempSync(join(tmpdir(), 'amesh-script-'));
  chmodSync(folder, 0o755); // other users run it, too
  const outfile = join(folder, `${basename(path, '.ts')}.mjs`);
  const bundle = await bundleOf(join(root, path), {
    platform: 'node',
    target: 'node20',
    tsconfig: join(root, 'tsconfig.json'),
    // CommonJS packages in the bundle, such as ioredis, ask for node's own modules with it.
    banner: {
      js: "import { createRequire as toRequire } from 'node:module'; const require = toRequire(import.meta.url);",
    },
    external: missing,
  });
  writeFileSync(outfile, bundle);
  return {
    path: outfile,
    start: (args = [], options = {}) => start([outfile, ...args], options),
    remove: () => rmSync(folder, { recursive: true, maxRetries: 20 }),
  };
}

function start(args: readonly string[], { env = {}, uid, preload }: StartOptions): Child {
  // Node itself may lie where that user may not go, as in the home of another one; a running process is its own way to its
  // program.
  const node = uid !== undefined && process.platform === 'linux' ? '/proc/self/exe' : process.execPath;
  const child = spawn(node, [...(preload === undefined ? [] : ['--import', preload]), ...args], {
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const look of waiting) look();
  };
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdin.on('error', () => {}); // it may be dead by now
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    wake();
  });
  let isOver = false;
  const ended = once(child, 'close').then(([code, signal]) => {
    isOver = true;
    wake();
    return { code, signal };
  });
  return {
    process: child,
    pid: child.pid as number,
    lines,
    stderr: () => stderr,
    line: (prefix) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = lines.find((line) => line.startsWith(prefix));
          if (found === undefined && !isOver) return;
          waiting.delete(look);
          if (found === undefined)
            reject(new Error(`The process ended without saying "${prefix}". ${stderr}`));
          else resolve(found.slice(prefix.length));
        };
        waiting.add(look);
        look();
      }),
    tell: (line) => void child.stdin.write(`${line}\n`),
    kill: (signal) => void child.kill(signal),
    ended,
  };
}
