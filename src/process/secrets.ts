import type { Env } from './home';

/** What left `process.env`. Tests replace that object, and what one of them hides is not for the next. */
const hidden = new WeakMap<object, Map<string, string>>();

/** The name under which threads that begin later get a secret: their `process.env` is a copy without it. */
const threadKey = (name: string) => `amesh ${name}`;

/** The value of a variable with a secret, also after {@link hideSecret}. */
export function readSecret(env: Env, name: string): string | undefined {
  const value = env[name];
  if (value !== undefined || env !== process.env) return value;
  const kept = hidden.get(env)?.get(name);
  if (kept !== undefined) return kept;
  const { getEnvironmentData, isMainThread } = process.getBuiltinModule('node:worker_threads');
  return isMainThread ? undefined : (getEnvironmentData(threadKey(name)) as string | undefined);
}

/**
 * Takes a variable with a secret out of `process.env`, once it was read: error reports, diagnostic pages and child processes
 * get the environment. Threads still find it with {@link readSecret}. An environment that a caller gives stays as it is.
 */
export function hideSecret(env: Env, name: string): void {
  const value = env[name];
  if (env !== process.env || value === undefined) return;
  const kept = hidden.get(env) ?? new Map<string, string>();
  hidden.set(env, kept.set(name, value));
  process.getBuiltinModule('node:worker_threads').setEnvironmentData(threadKey(name), value);
  delete process.env[name];
}
