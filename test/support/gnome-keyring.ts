import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe } from 'vitest';

/** A real session bus with a real GNOME Keyring on it, in folders of their own. */
export interface GnomeKeyring {
  /** For a process that uses it. */
  readonly env: Readonly<Record<'DBUS_SESSION_BUS_ADDRESS' | 'HOME' | 'XDG_RUNTIME_DIR', string>>;
  /** As after a restart of the machine, with the keyring locked until somebody logs in. */
  restartLocked(): Promise<void>;
  /** The password that unlocks it. */
  readonly password: string;
  /** Runs a command line of bash in that session. */
  run(command: string): string;
  /** Kills it and removes its files. */
  remove(): Promise<void>;
}

export interface KeyringOptions {
  /** `none`: no program can keep secrets; `started`: it has no keyring yet; by default somebody has logged in. */
  readonly service?: 'none' | 'started' | 'unlocked';
}

const IS_HERE = ['dbus-daemon', 'gnome-keyring-daemon', 'secret-tool'].every(isInstalled);

/** `describe` for what needs a keychain: skipped without GNOME Keyring, but not in CI, where it then fails. */
export const describeWithKeyring = describe.skipIf(!IS_HERE && !process.env.CI);
if (!IS_HERE)
  console.warn(
    'Tests with a keychain are skipped: there is no gnome-keyring-daemon or secret-tool in the PATH.',
  );

/** @throws Error if it is not installed, or does not start */
export async function startGnomeKeyring({
  service = 'unlocked',
}: KeyringOptions = {}): Promise<GnomeKeyring> {
  if (!IS_HERE) throw new Error('apt-get install dbus gnome-keyring libsecret-tools');
  const home = mkdtempSync(join(tmpdir(), 'amesh-keyring-'));
  const { PATH } = process.env;
  const runtime = join(home, 'run');
  mkdirSync(runtime, { mode: 0o700 });
  const base = { PATH, HOME: home, XDG_RUNTIME_DIR: runtime };
  const bus = spawn('dbus-daemon', ['--nofork', '--print-address=1', ...configuration(home, service)], {
    env: base,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = createInterface(bus.stdout);
  const [address] = (await once(lines, 'line')) as [string];
  const env = { ...base, DBUS_SESSION_BUS_ADDRESS: address };
  let daemon: ChildProcess | undefined;

  const end = async (child: ChildProcess | undefined) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill('SIGKILL');
    await ended;
  };
  const unlock = async () => {
    daemon = spawn('gnome-keyring-daemon', ['--foreground', '--components=secrets', '--unlock'], {
      env,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    daemon.stdin?.end(PASSWORD);
    // Until it has its name on the bus, the bus would start another one.
    for (let attempt = 0; attempt < 500; attempt++) {
      if (daemon.exitCode !== null) throw new Error(`gnome-keyring-daemon ended with ${daemon.exitCode}.`);
      if (run(NAMES).includes('org.freedesktop.secrets')) return;
      await sleep(20);
    }
    throw new Error('gnome-keyring-daemon is not on the bus.');
  };
  const run = (command: string) =>
    execFileSync('bash', ['-c', command], { env, encoding: 'utf8', stdio: 'pipe', timeout: 20_000 });
  if (service === 'unlocked') await unlock(); // otherwise the bus starts it when it is needed
  return {
    env: { DBUS_SESSION_BUS_ADDRESS: address, HOME: home, XDG_RUNTIME_DIR: runtime },
    password: PASSWORD,
    restartLocked: () => end(daemon),
    run,
    async remove() {
      await end(daemon);
      await end(bus);
      rmSync(home, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

const PASSWORD = 'the password of the user';
const NAMES =
  'dbus-send --session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.ListNames';

/** A bus that can start services or, without a folder of them, none. */
function configuration(home: string, service: KeyringOptions['service']): string[] {
  if (service !== 'none') return ['--session'];
  const path = join(home, 'bus.conf');
  writeFileSync(
    path,
    `<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
     <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`,
  );
  return [`--config-file=${path}`];
}

function isInstalled(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
