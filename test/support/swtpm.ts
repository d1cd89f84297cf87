import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe } from 'vitest';
import { answers } from './answers';
import { freePort } from './free-port';
import { isInstalled } from './installed';

/** A real TPM 2.0 in software (swtpm), with a state folder of its own. */
export interface Swtpm {
  /** For AMESH_TPM. */
  readonly address: string;
  readonly port: number;
  /** As a reboot of the machine: what was loaded is gone, and the seeds stay. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** Runs a program of tpm2-tools, or openssl, with this TPM: words that spaces separate. Nothing stays loaded. */
  run(command: string): Promise<string>;
  /** Kills it and removes its state. */
  remove(): Promise<void>;
}

const IS_HERE = ['swtpm', 'tpm2_getcap'].every(isInstalled);

/** `describe` for what needs a TPM: skipped without swtpm and tpm2-tools, but not in CI, where it then fails. */
export const describeWithTpm = describe.skipIf(!IS_HERE && !process.env.CI);
if (!IS_HERE) console.warn('Tests with a TPM are skipped: there is no swtpm or tpm2_getcap in the PATH.');

/** @throws Error if swtpm is not installed, or does not start */
export async function startSwtpm(): Promise<Swtpm> {
  if (!IS_HERE) throw new Error('apt-get install swtpm tpm2-tools libtss2-tcti-swtpm0 tpm2-openssl');
  const state = mkdtempSync(join(tmpdir(), 'amesh-tpm-'));
  const port = await freePort(2); // tpm2-tools expect the control channel at the next port
  let running: ChildProcess | undefined = await start(state, port);
  const stop = async () => {
    if (running === undefined) return;
    const ended = once(running, 'close');
    running.kill('SIGKILL');
    running = undefined;
    await ended;
  };
  return {
    address: `tcp:127.0.0.1:${port}`,
    port,
    stop,
    async restart() {
      await stop();
      running = await start(state, port);
    },
    async run(command) {
      const tcti = `swtpm:host=127.0.0.1,port=${port}`;
      const options = {
        env: { ...process.env, TPM2TOOLS_TCTI: tcti, TPM2OPENSSL_TCTI: tcti },
        timeout: 20_000,
      };
      const [program = '', ...args] = command.split(' ');
      const { stdout } = await promisify(execFile)(program, args, options);
      await promisify(execFile)('tpm2_flushcontext', ['--transient-object'], options);
      return stdout;
    },
    async remove() {
      await stop();
      rmSync(state, { recursive: true, maxRetries: 20 });
    },
  };
}

async function start(state: string, port: number): Promise<ChildProcess> {
  const child = spawn(
    'swtpm',
    [
      ...['socket', '--tpm2', '--tpmstate', `dir=${state}`],
      ...['--server', `type=tcp,port=${port}`, '--ctrl', `type=tcp,port=${port + 1}`],
      ...['--flags', 'not-need-init,startup-clear'],
    ],
    { stdio: 'ignore' },
  );
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`swtpm ended with ${child.exitCode}.`);
    if (await answers({ port, host: '127.0.0.1' })) return child;
    await sleep(20);
  }
  throw new Error('swtpm does not answer.');
}
