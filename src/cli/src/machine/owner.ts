import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { isatty } from 'node:tty';
import { nearestStep, userText } from '@authmesh/sdk/admin/list';
import { CommandError } from '../errors/errors';
import { loadAll } from './load';

/** A user on whose behalf root acts. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** The path that they own: the folder, or the folder that will contain it. */
  readonly path: string;
}

/** Missing in the types of Node 20. */
interface WithInitGroups {
  initgroups?(user: string, extraGroup: number): void;
}

/** The owner of a folder, or of the nearest existing folder above it. Null if that is root, or this process is not. */
export function ownerToBecome(dir: string): Owner | null {
  if (process.geteuid?.() !== 0) return null;
  const step = nearestStep(dir);
  if (step === null || step.stats.uid === 0) return null;
  const { uid, gid } = step.stats;
  return { uid, gid, path: step.path };
}

/**
 * Turns this process permanently into a process of another user. That user then owns the files that it writes, so that their server
 * can read them. They cannot lead root elsewhere with a symbolic link, since the process is no longer root.
 *
 * @returns the user, for a message
 * @throws CommandError if root may not do so, or has not lost all its rights
 */
export async function becomeOwner({ uid, gid, path }: Owner): Promise<string> {
  await loadAll();
  if (isatty(0)) process.stdin; // opens the terminal now, since that user has no access to it
  let text = userText(uid);
  try {
    const account = accountOf(uid);
    if (account === null) {
      // The folder's group, but never root's.
      process.setgroups?.([gid || uid]);
      process.setgid?.(gid || uid);
    } else {
      text = `${account.username} (uid ${uid})`; // a directory service may know the name
      (process as WithInitGroups).initgroups?.(account.username, account.gid);
      process.setgid?.(account.gid);
    }
    process.setuid?.(uid);
  } catch (error) {
    throw cannot(path, text, (error as NodeJS.ErrnoException).code ?? String(error));
  }
  if (isStillRoot(uid)) throw cannot(path, text, 'root could come back');
  return text;
}

/** Node can look up only the current user, so root becomes that user for a moment. Null if they have no name. */
function accountOf(uid: number): { username: string; gid: number } | null {
  process.seteuid?.(uid);
  try {
    return userInfo();
  } catch {
    return null;
  } finally {
    process.seteuid?.(0);
  }
}

/** Tries to become root again, and checks the real, effective and saved IDs. */
function isStillRoot(uid: number): boolean {
  try {
    process.seteuid?.(0);
    return true;
  } catch {
    // expected
  }
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid) return true;
  if (process.platform !== 'linux') return false;
  const status = readFileSync('/proc/self/status', 'utf8');
  const ids = /^Uid:\t(.*)$/m.exec(status)?.[1]?.split('\t') ?? [];
  return ids.length !== 4 || ids.some((id) => Number(id) !== uid);
}

function cannot(path: string, user: string, why: string): CommandError {
  return new CommandError(
    'cannot_become_owner',
    `${path} belongs to ${user}, and root cannot become that user here (${why}).`,
    'Run amesh as that user: with sudo -u, or in a container with --user.',
  );
}
