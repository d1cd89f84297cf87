import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port';

const APACHE = ['/usr/sbin/apache2', '/usr/sbin/httpd'].find((path) => existsSync(path));
const MODULES = ['/usr/lib/apache2/modules', '/usr/lib/httpd/modules', '/usr/lib64/httpd/modules'].find(
  (path) => existsSync(path),
);

/** Whether tests with Apache run: always in CI, where they fail without it. */
export const hasApache = APACHE !== undefined || process.env.CI !== undefined;
if (APACHE === undefined) console.warn('Tests behind Apache are skipped: there is no apache2.');

/** One real Apache with a port for each configuration. */
export interface Apache<Name extends string> {
  portOf(name: Name): number;
  stop(): Promise<void>;
}

/** @param sites the inside of a VirtualHost for each */
export async function startApache<Name extends string>(
  sites: Readonly<Record<Name, string>>,
): Promise<Apache<Name>> {
  if (APACHE === undefined || MODULES === undefined)
    throw new Error('There is no Apache here: apt-get install apache2');
  const folder = await mkdtemp(join(tmpdir(), 'amesh-apache-'));
  await chmod(folder, 0o755);
  const names = Object.keys(sites) as Name[];
  const ports = new Map<Name, number>();
  for (const name of names) ports.set(name, await freePort());
  const load = (name: string) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`;
  const user = process.getuid?.() === 0 ? 'User nobody\nGroup nogroup' : '';
  await writeFile(
    join(folder, 'httpd.conf'),
    [
      `ServerRoot ${folder}\nPidFile ${folder}/pid\nErrorLog ${folder}/error.log\nServerName localhost`,
      ...['mpm_event', 'authz_core', 'proxy', 'proxy_http', 'rewrite'].map(load),
      'StartServers 1\nMinSpareThreads 1\nMaxSpareThreads 25\nThreadsPerChild 25',
      user,
      ...names.map(
        (name) =>
          `Listen 127.0.0.1:${ports.get(name)}\n<VirtualHost 127.0.0.1:${ports.get(name)}>\n${sites[name]}\n</VirtualHost>`,
      ),
    ].join('\n'),
  );
  const child: ChildProcess = spawn(APACHE, ['-f', join(folder, 'httpd.conf'), '-D', 'FOREGROUND'], {
    stdio: 'ignore',
  });
  const ended = once(child, 'close');
  for (const port of ports.values()) await untilOpen(port, folder);
  return {
    portOf: (name) => ports.get(name) as number,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, maxRetries: 20 });
    },
  };
}

async function untilOpen(port: number, folder: string): Promise<void> {
  for (const endsAt = Date.now() + 20_000; ; await sleep(20)) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    if (Date.now() > endsAt)
      throw new Error(`Apache did not start: ${await readFile(join(folder, 'error.log'), 'utf8')}`);
  }
}
