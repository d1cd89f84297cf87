import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port';

const HAPROXY = ['/usr/sbin/haproxy', '/usr/bin/haproxy'].find((path) => existsSync(path));

/** Whether tests with HAProxy run: always in CI, where they fail without it. */
export const hasHaproxy = HAPROXY !== undefined || process.env.CI !== undefined;
if (HAPROXY === undefined) console.warn('Tests with HAProxy are skipped: there is no haproxy.');

/** A real HAProxy before two servers, the second of which is the backup of the first. */
export interface Haproxy {
  readonly port: number;
  /** Takes the first one out, or puts it back. */
  setFirst(state: 'maint' | 'ready'): Promise<void>;
  stop(): Promise<void>;
}

/** @param sessions what becomes of connections to the server that was left */
export async function startHaproxy(
  ports: readonly [number, number],
  sessions: 'stay' | 'end',
): Promise<Haproxy> {
  if (HAPROXY === undefined) throw new Error('There is no haproxy here: apt-get install haproxy');
  const folder = await mkdtemp(join(tmpdir(), 'amesh-haproxy-'));
  const port = await freePort();
  const socket = join(folder, 'admin.sock');
  const end =
    sessions === 'end' ? 'on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions' : '';
  await writeFile(
    join(folder, 'haproxy.cfg'),
    `global
  stats socket ${socket} level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
listen redis
  bind 127.0.0.1:${port}
  server a 127.0.0.1:${ports[0]} check inter 100ms fall 1 rise 1 ${end}
  server b 127.0.0.1:${ports[1]} check inter 100ms fall 1 rise 1 backup
`,
  );
  const child: ChildProcess = spawn(HAPROXY, ['-f', join(folder, 'haproxy.cfg'), '-db'], { stdio: 'ignore' });
  const ended = once(child, 'close');
  const kill = () => void child.kill('SIGKILL');
  process.once('exit', kill);
  const tell = async (line: string) => {
    const client = connect(socket);
    client.end(`${line}\n`);
    return text(client);
  };
  for (const endsAt = Date.now() + 20_000; ; await sleep(20)) {
    if ((await tell('show info').catch(() => '')).includes('Name: HAProxy')) break;
    if (Date.now() > endsAt) throw new Error('HAProxy did not start in 20 s.');
  }
  return {
    port: port,
    setFirst: async (state) => void (await tell(`set server redis/a state ${state}`)),
    async stop() {
      process.off('exit', kill);
      kill();
      await ended;
      await rm(folder, { recursive: true, maxRetries: 20 });
    },
  };
}
