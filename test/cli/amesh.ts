import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type AllowListDocument, createIdentity, type DeviceIdentity, openDevice } from '@authmesh/sdk/admin';
import { afterAll, beforeAll } from 'vitest';
import { ensureBuilt } from '../support/built';

export const BIN = fileURLToPath(new URL('../../src/cli/bin/amesh.mjs', import.meta.url));

/** What a run of the command has left behind. */
export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** What comes through stdin; default nothing. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs; default here. */
  readonly cwd?: string;
}

/** A machine with a folder of its own, and the real command on it. */
export class Machine {
  constructor(readonly dir: string) {}

  /** The environment in which the command runs: nothing of amesh in it but this folder. */
  env(more: Readonly<Record<string, string>> = {}): Record<string, string | undefined> {
    const own = Object.entries(process.env).filter(
      ([name]) => !/^(?:AUTH_MESH|AMESH)_|^(?:NO_COLOR|REDIS_URL)$|^(?:https?|all|no)_proxy$/i.test(name),
    );
    return { ...Object.fromEntries(own), AUTH_MESH_DIR: this.dir, ...more };
  }

  /** A command as this machine prints it for itself. */
  here(command: string): string {
    return `AUTH_MESH_DIR=${this.dir} ${command}`;
  }

  async amesh(args: readonly string[], { input = '', env, cwd }: RunOptions = {}): Promise<Ran> {
    const child = spawn(process.execPath, [BIN, ...args], { env: this.env(env), cwd });
    child.stdin.on('error', () => {}); // most commands never read it
    child.stdin.end(input);
    const closed = new Promise<number | null>((resolve) => child.on('close', resolve));
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    return { code, stdout, stderr };
  }

  /** An identity without a process: where `init` is not what is tested. */
  init(friendlyName: string): Promise<DeviceIdentity> {
    return createIdentity(this.dir, {}, { friendlyName });
  }

  async allowList(): Promise<AllowListDocument> {
    return (await openDevice(this.dir, {})).trust.read();
  }
}

/**
 * Builds the command first, and removes every folder after the last test of the file.
 *
 * @returns makes a machine: with an identity of the name given, or with nothing
 */
export function useMachines(): (friendlyName?: string) => Promise<Machine> {
  let root = '';
  beforeAll(async () => {
    await ensureBuilt();
    root = await mkdtemp(join(tmpdir(), 'amesh-cli-'));
  }, 180_000);
  afterAll(() => rm(root, { recursive: true, force: true, maxRetries: 20 }));
  return async (friendlyName) => {
    const machine = new Machine(join(await mkdtemp(join(root, 'machine-')), 'amesh'));
    if (friendlyName !== undefined) await machine.init(friendlyName);
    return machine;
  };
}

/** The one object that `--json` prints. */
export function objectOf({ stdout }: Ran): Record<string, unknown> {
  if (!/^\{.*\}\n$/.test(stdout)) throw new Error(`Not one object on one line: ${stdout}`);
  return JSON.parse(stdout);
}
