import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { readPath } from './environment';
import { PROCESS_CODES } from './errors/codes';

/** The environment as far as amesh reads it. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Where this machine's identity lies: an option, AUTH_MESH_DIR, or ~/.amesh. An absolute path.
 *
 * @throws TypeError where AUTH_MESH_DIR holds what only a shell would have replaced; AmeshError `identity_unreadable`
 *   without a home folder
 */
export function homeDir(dir: string | undefined, env: Env): string {
  const chosen = dir ?? readPath(env, 'AUTH_MESH_DIR', 'unset');
  if (chosen !== undefined) return resolve(chosen);
  const home = homedir();
  if (isAbsolute(home)) return join(home, '.amesh');
  throw new AmeshError(PROCESS_CODES.identity_unreadable, 'There is no home folder: HOME is empty.', {
    fix: 'Set AUTH_MESH_DIR.',
  });
}
