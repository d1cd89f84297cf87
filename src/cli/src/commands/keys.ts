import { BACKENDS, FileStore, type KeyBackend, type KeyContext, readIdentity } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { machineDir } from '../machine/machine';

/** A key backend, as it is on this machine. */
export interface FoundBackend {
  readonly id: string;
  readonly available: boolean;
  readonly hardware: boolean;
  /** Whether it holds the key of this machine. */
  readonly inUse: boolean;
  /** Where it keeps a key, or why it cannot. */
  readonly text: string;
}

export const keys = defineCommand({
  meta: { name: 'keys', description: 'Shows where this machine can keep its private key' },
  args: SHARED_ARGS,

  async run(): Promise<Result> {
    const dir = machineDir();
    const identity = await readIdentity(new FileStore(dir));
    const found = await findBackends({ dir, env: process.env }, identity?.key.backend);
    return {
      json: { dir, backends: found },
      data: found.flatMap(({ id, available, inUse, text }) => [
        `${available ? '✓' : '–'} ${id}${inUse ? '  (the key of this machine)' : ''}`,
        `    ${text}`,
      ]),
      notes: identity === null ? ['  To choose one: amesh init --name NAME --backend BACKEND'] : [],
    };
  },
});

/** Tests all key backends, one after the other, by using them. */
export async function findBackends(context: KeyContext, used?: string): Promise<FoundBackend[]> {
  const found: FoundBackend[] = [];
  for (const backend of BACKENDS) found.push(await look(backend, context, backend.id === used));
  return found;
}

async function look(backend: KeyBackend, context: KeyContext, inUse: boolean): Promise<FoundBackend> {
  const { available, hardware, reason = '' } = await backend.probe(context);
  return {
    id: backend.id,
    available,
    hardware,
    inUse,
    text: available ? await backend.describe(context) : reason,
  };
}
