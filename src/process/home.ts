import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { readPath } from './environment';
import { PROCESS_CODES } from './errors/codes';

/** The environment variables that amesh reads. */
export type Env = Readonly<Record<string, string | undefined>>;

/**
 * The folder of this machine's identity, as an absolute path: the option, AUTH_MESH_DIR, or ~/.amesh.
 *
 * @throws TypeError if AUTH_MESH_DIR contains something that only a shell expands; AmeshError `identity_unreadable` if
 *   there is no home folder
 */
export function homeDir(dir: string | undefined, env: Env): string {
  const chosen = dir ?? readPath(env, 'AUTH_MESH_DIR', 'unset');
  if (chosen !== undefined) return resolve(chosen);
  let home: string;
  try {
    home = homedir();
  } catch (cause) {
    const user = `this user (uid ${process.geteuid?.()})`;
    throw homeless(`HOME is not set, and ${user} is not in /etc/passwd`, { cause });
  }
  if (isAbsolute(home)) return join(home, '.amesh');
  throw homeless(home === '' ? 'HOME is empty' : 'HOME is not an absolute path');
}

function homeless(why: string, options?: ErrorOptions): AmeshError {
  return new AmeshError(PROCESS_CODES.identity_unreadable, `There is no home folder: ${why}.`, {
    fix: 'Set AUTH_MESH_DIR.',
    ...options,
  });
}
