import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** The environment as far as amesh reads it. */
export type Env = Readonly<Record<string, string | undefined>>;

/** Where this machine's identity lies: an option, AUTH_MESH_DIR, or ~/.amesh. An absolute path. */
export function homeDir(dir: string | undefined, env: Env): string {
  const chosen = dir ?? env.AUTH_MESH_DIR;
  return chosen === undefined || chosen === '' ? join(homedir(), '.amesh') : resolve(chosen);
}
