import {
  BACKENDS,
  type DeviceIdentity,
  FileStore,
  type KeyBackend,
  type KeyContext,
  readIdentity,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { machineDir } from '../machine/machine';
import { SUMMARIES } from './summaries';

/** An agent that does not even list its keys in this time should not be chosen. */
const PATIENCE_MS = 10_000;

/** A key backend, as it is on this machine. */
export interface FoundBackend {
  readonly id: string;
  readonly available: boolean;
  readonly hardware: boolean;
  /** Whether it stores the key of this machine. */
  readonly inUse: boolean;
  /** Where it stores a key, or why it cannot. */
  readonly text: string;
  /** Why another backend is better, although this one works. */
  readonly warning?: string | undefined;
}

export const keys = defineCommand({
  meta: { name: 'keys', description: SUMMARIES.keys },
  args: SHARED_ARGS,
  subCommands: {
    cut: () => import('./keys-cut').then(({ keysCut }) => keysCut),
  },

  async run(): Promise<Result> {
    const dir = machineDir();
    const identity = await readIdentity(new FileStore(dir));
    const found = await findBackends({ dir, env: process.env }, identity?.key);
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

/**
 * Tests all key backends, one after the other, by using them.
 *
 * @param used the key of this machine
 */
export async function findBackends(
  context: KeyContext,
  used?: DeviceIdentity['key'],
): Promise<FoundBackend[]> {
  const found: FoundBackend[] = [];
  for (const backend of BACKENDS) found.push(await look(backend, context, used));
  return found;
}

async function look(
  backend: KeyBackend,
  context: KeyContext,
  used: DeviceIdentity['key'] | undefined,
): Promise<FoundBackend> {
  const ref = backend.id === used?.backend ? used.ref : undefined;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const {
    available,
    hardware,
    reason = '',
    note,
    warning,
  } = await backend.probe({ ...context, signal }, ref);
  const text = available ? await backend.describe(context, ref) : reason;
  return {
    id: backend.id,
    available,
    hardware,
    inUse: ref !== undefined,
    text: note === undefined ? text : `${text} ${note}`,
    warning,
  };
}
