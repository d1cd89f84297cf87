import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { untilReady } from './client';

export const BIN = new URL('../../relay/bin/amesh-relay.mjs', import.meta.url).pathname;

/** A relay in a separate process. */
export interface RelayProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** 0 where it has ended without listening. */
  readonly port: number;
  /** What it has logged so far. */
  readonly log: readonly { event: string; outcome: string; reason?: string }[];
  readonly ended: Promise<{ code: number | null; stderr: string }>;
}

/**
 * Resolves when it listens, or has ended.
 *
 * @param command a runtime, or the whole command line
 */
export async function startProcess(
  command: string | readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
  options: { readonly cwd?: string; readonly detached?: boolean } = {},
): Promise<RelayProcess> {
  const [file, ...args] = typeof command === 'string' ? [command, BIN] : command;
  const child = spawn(file, args, {
    ...options,
    env: { PORT: '0', HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log: RelayProcess['log'][number][] = [];
  createInterface({ input: child.stdout }).on('line', (line) => log.push(JSON.parse(line)));
  let stderr = '';
  const ended = once(child, 'close').then(([code]) => ({ code, stderr }));
  const port = await new Promise<number>((resolve) => {
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
      const [, port] = /listening on 127\.[\d.]+:(\d+), path \/ws\n/.exec(stderr) ?? [];
      if (port !== undefined) resolve(Number(port));
    });
    ended.then(() => resolve(0));
  });
  if (env.REDIS_URL !== undefined && port !== 0) await untilReady(port);
  return { child, port, log, ended };
}
