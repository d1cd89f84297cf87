import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe } from 'vitest';
import { freePort } from './free-port';

/** A real redis-server of its own, on a loopback port that was free. It keeps nothing on disk. */
export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** Kills it. Whatever it held is gone. */
  stop(): Promise<void>;
  /** Starts it again, empty, on the same port; stops it first where it runs. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open, and nothing is answered. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

export interface RedisOptions {
  /** More of the command line, such as `['--maxmemory', '2mb']`. */
  readonly args?: readonly string[];
  /** A sentinel wants a file that it can write. */
  readonly file?: string;
}

const IS_HERE = isInstalled();

/** `describe` for what needs a redis-server: skipped where there is none, but not in CI, where it then fails. */
export const describeWithRedis = describe.skipIf(!IS_HERE && !process.env.CI);
if (!IS_HERE) console.warn('Tests with Redis are skipped: there is no redis-server in the PATH.');

/** @throws Error where there is no redis-server, or it does not start */
export async function startRedis({ args = [], file }: RedisOptions = {}): Promise<RedisServer> {
  if (!IS_HERE) throw new Error('There is no redis-server here: apt-get install redis-server');
  const port = await freePort();
  let running: ChildProcess | undefined = await start(port, args, file);
  const server: RedisServer = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      if (running === undefined) return;
      const ended = once(running, 'close');
      running.kill('SIGKILL'); // a paused one would not hear anything else
      running = undefined;
      await ended;
    },
    async restart() {
      await server.stop();
      running = await start(port, args, file);
    },
    pause: () => void running?.kill('SIGSTOP'),
    resume: () => void running?.kill('SIGCONT'),
  };
  return server;
}

const servers = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of servers) child.kill('SIGKILL'); // of a test file that ended without stopping them
});

async function start(port: number, args: readonly string[], file?: string): Promise<ChildProcess> {
  const folder = mkdtempSync(join(tmpdir(), 'amesh-redis-'));
  const usual = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''];
  // A master waits 5 s otherwise, for more replicas that could have the same copy.
  const master = ['--appendonly', 'no', '--repl-diskless-sync-delay', '0'];
  const all = file === undefined ? [...usual, ...master, ...args] : [file, ...usual.slice(0, 6), ...args];
  const child = spawn('redis-server', all, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  servers.add(child);
  let printed = '';
  const ended = once(child, 'close').then(() => {
    servers.delete(child);
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    throw new Error(`redis-server has ended.\n${printed}`);
  });
  ended.catch(() => {});
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      printed += `${line}\n`;
      if (/Ready to accept connections|Sentinel ID is/.test(line)) resolve();
    });
  });
  await Promise.race([ready, ended]);
  return child;
}

function isInstalled(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
