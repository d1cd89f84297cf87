import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe } from 'vitest';
import { answers } from './answers';
import { isInstalled } from './installed';

/** A real agent of OpenSSH, in a folder of its own. */
export interface RealAgent {
  /** For SSH_AUTH_SOCK. */
  readonly path: string;
  /** The folder in which its keys are. */
  readonly dir: string;
  readonly pid: number;
  /** Makes a key and adds it. Returns its fingerprint. */
  add(
    comment: string,
    options?: { readonly type?: string; readonly flags?: readonly string[] },
  ): Promise<string>;
  /** Makes many keys of the right kind, and adds them with one command. */
  addMany(count: number): Promise<void>;
  /** Runs a program of OpenSSH, or of a token, in its environment. */
  run(program: string, ...args: string[]): Promise<string>;
  /** It forgets all keys. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** Kills it and removes its folder. */
  remove(): Promise<void>;
}

const IS_HERE = ['ssh-agent', 'ssh-add', 'ssh-keygen'].every(isInstalled);
const SOFTHSM = '/usr/lib/softhsm/libsofthsm2.so';
const HAS_TOKEN = IS_HERE && existsSync(SOFTHSM) && ['softhsm2-util', 'pkcs11-tool'].every(isInstalled);

/** `describe` for what needs an SSH agent: skipped without one, but not in CI, where it then fails. */
export const describeWithAgent = describe.skipIf(!IS_HERE && !process.env.CI);
/** `describe` for what needs a PKCS#11 token in an SSH agent. */
export const describeWithToken = describe.skipIf(!HAS_TOKEN && !process.env.CI);
const HAS_GPG = ['gpg', 'gpgconf', 'gpg-agent'].every(isInstalled);
/** `describe` for what needs the agent of GnuPG. */
export const describeWithGpg = describe.skipIf(!HAS_GPG && !process.env.CI);
if (!HAS_GPG) console.warn('Tests with gpg-agent are skipped: there is no gpg or gpg-agent in the PATH.');
if (!IS_HERE) console.warn('Tests with an SSH agent are skipped: there is no ssh-agent in the PATH.');
else if (!HAS_TOKEN)
  console.warn('Tests with a PKCS#11 token are skipped: there is no SoftHSM 2 or pkcs11-tool.');

/**
 * @param env of the agent, such as SSH_ASKPASS
 * @throws Error if OpenSSH is not installed, or the agent does not start
 */
export async function startAgent(env: Readonly<Record<string, string>> = {}): Promise<RealAgent> {
  if (!IS_HERE) throw new Error('apt-get install openssh-client');
  const dir = mkdtempSync(join(tmpdir(), 'amesh-agent-'));
  const path = join(dir, 'agent.sock');
  let running = await start(path, env);
  const options = { env: { ...process.env, ...env, SSH_AUTH_SOCK: path }, timeout: 20_000 };
  const run = async (program: string, ...args: string[]) =>
    (await promisify(execFile)(program, args, options)).stdout;
  let count = 0;
  const makeKey = async (comment: string, type: string) => {
    const file = join(dir, `key-${count++}`);
    const [name, bits] = type.split('-') as [string, string?];
    await run(
      'ssh-keygen',
      '-q',
      '-N',
      '',
      '-C',
      comment,
      '-f',
      file,
      '-t',
      name,
      ...(bits ? ['-b', bits] : []),
    );
    return file;
  };
  const stop = async () => {
    if (running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, 'close');
    running.kill('SIGKILL');
    await ended;
    rmSync(path, { force: true });
  };
  return {
    path,
    dir,
    get pid() {
      return running.pid as number;
    },
    run,
    async add(comment, { type = 'ecdsa-256', flags = [] } = {}) {
      const file = await makeKey(comment, type);
      await run('ssh-add', '-q', ...flags, file);
      return (await run('ssh-keygen', '-lf', file)).split(' ')[1] as string;
    },
    async addMany(number) {
      const files: string[] = [];
      for (let i = 0; i < number; i++) {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const file = join(dir, `many-${i}`);
        writeFileSync(file, privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });
        files.push(file);
      }
      await run('ssh-add', '-q', ...files);
    },
    async restart() {
      await stop();
      running = await start(path, env);
    },
    stop,
    async remove() {
      await stop();
      rmSync(dir, { recursive: true, maxRetries: 20 });
    },
  };
}

/** Puts a P-256 key into a new SoftHSM 2 token, for `ssh-add -s`. */
export function makeToken(): {
  readonly env: Record<string, string>;
  readonly provider: string;
  remove(): void;
} {
  if (!HAS_TOKEN) throw new Error('apt-get install softhsm2 opensc');
  const dir = mkdtempSync(join(tmpdir(), 'amesh-token-'));
  const pin = '4829163';
  const conf = join(dir, 'softhsm2.conf');
  writeFileSync(conf, `directories.tokendir = ${dir}\nobjectstore.backend = file\n`);
  writeAskpass(join(dir, 'askpass'), `echo ${pin}`);
  const env = { SOFTHSM2_CONF: conf, ...askWith(join(dir, 'askpass')) };
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { env: { ...process.env, ...env }, stdio: 'pipe' });
  run('softhsm2-util', '--init-token', '--free', '--label', 'amesh', '--so-pin', '0000', '--pin', pin);
  run(
    'pkcs11-tool',
    ...['--module', SOFTHSM, '--login', '--pin', pin],
    ...['--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'of a token'],
  );
  return { env, provider: SOFTHSM, remove: () => rmSync(dir, { recursive: true, maxRetries: 20 }) };
}

/** The agent of GnuPG, with a P-256 key. */
export function startGpgAgent(): { readonly path: string; remove(): void } {
  if (!HAS_GPG) throw new Error('apt-get install gnupg');
  const dir = mkdtempSync(join(tmpdir(), 'amesh-gpg-'));
  const env = { ...process.env, GNUPGHOME: dir };
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { env, stdio: 'pipe', encoding: 'utf8', timeout: 60_000 });
  const found = (text: string, record: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${record}:`))
      ?.split(':')[9] as string;
  const quick = ['--batch', '--passphrase', '', '--quick-gen-key'];
  run('gpg', ...quick, 'amesh', 'nistp256', 'cert,sign,auth', 'never');
  const listed = run('gpg', '--with-keygrip', '-K', '--with-colons');
  writeFileSync(join(dir, 'sshcontrol'), `${found(listed, 'grp')}\n`);
  writeFileSync(join(dir, 'gpg-agent.conf'), 'enable-ssh-support\n');
  run('gpgconf', '--kill', 'gpg-agent');
  run('gpgconf', '--launch', 'gpg-agent');
  return {
    path: run('gpgconf', '--list-dirs', 'agent-ssh-socket').trim(),
    remove() {
      run('gpgconf', '--kill', 'gpg-agent');
      rmSync(dir, { recursive: true, maxRetries: 20 });
    },
  };
}

/** A program that OpenSSH starts to ask its user. */
export function writeAskpass(path: string, command: string): void {
  writeFileSync(path, `#!/bin/sh\n${command}\n`);
  chmodSync(path, 0o755);
}

export function askWith(path: string): Record<string, string> {
  return { SSH_ASKPASS: path, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: ':0' };
}

async function start(path: string, env: Readonly<Record<string, string>>): Promise<ChildProcess> {
  const child = spawn('ssh-agent', ['-D', '-a', path], {
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`ssh-agent ended with ${child.exitCode}.`);
    if (await answers({ path })) return child;
    await sleep(10);
  }
  throw new Error('ssh-agent does not answer.');
}
