import type { Env } from './home';

/** The secrets that were removed from `process.env`, by that object: tests replace it, and must not see each other's secrets. */
const hidden = new WeakMap<object, Map<string, string>>();

/** The name under which later threads get a secret: their `process.env` is a copy without it. */
const threadKey = (name: string) => `amesh ${name}`;

/** The value of a variable with a secret, even after {@link hideSecret}. */
export function readSecret(env: Env, name: string): string | undefined {
  const value = env[name];
  if (value !== undefined || env !== process.env) return value;
  const kept = hidden.get(env)?.get(name);
  if (kept !== undefined) return kept;
  const { getEnvironmentData, isMainThread } = process.getBuiltinModule('node:worker_threads');
  return isMainThread ? undefined : (getEnvironmentData(threadKey(name)) as string | undefined);
}

/**
 * Removes a variable with a secret from `process.env` after it was read: error reports, diagnostic pages and child processes get
 * the environment. Threads still find it with {@link readSecret}. An environment that a caller passes stays as it is.
 */
export function hideSecret(env: Env, name: string): void {
  const value = env[name];
  if (env !== process.env || value === undefined) return;
  const kept = hidden.get(env) ?? new Map<string, string>();
  hidden.set(env, kept.set(name, value));
  process.getBuiltinModule('node:worker_threads').setEnvironmentData(threadKey(name), value);
  delete process.env[name];
}
