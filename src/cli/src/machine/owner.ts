import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { isatty } from 'node:tty';
import { nearestStep, userText } from '@authmesh/sdk/admin';
import { CommandError } from '../errors/errors';
import { loadAll } from './load';

/** A user for whom root acts. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** What is theirs: the folder, or the one in which it is going to be. */
  readonly path: string;
}

/** What the types of Node 20 leave out. */
interface WithInitGroups {
  initgroups?(user: string, extraGroup: number): void;
}

/** The owner of a folder, or of the folder in which it would be made, for root to become; null for root's own, or without root. */
export function ownerToBecome(dir: string): Owner | null {
  if (process.geteuid?.() !== 0) return null;
  const step = nearestStep(dir);
  if (step === null || step.stats.uid === 0) return null;
  const { uid, gid } = step.stats;
  return { uid, gid, path: step.path };
}

/**
 * Makes this process one of another user, for good. That user owns what it writes, so that their server can read it. The
 * owner of the folder cannot lead root elsewhere by a link, since the process is no longer root.
 *
 * @returns the user, as they are told
 * @throws CommandError where root may not do so, or has not lost all its rights
 */
export async function becomeOwner({ uid, gid, path }: Owner): Promise<string> {
  await loadAll();
  if (isatty(0)) process.stdin; // opens the terminal, which is not theirs
  let text = userText(uid);
  try {
    const account = accountOf(uid);
    if (account === null) {
      // The group of the folder, but never that of root.
      process.setgroups?.([gid || uid]);
      process.setgid?.(gid || uid);
    } else {
      text = `${account.username} (uid ${uid})`; // a directory service knows more than /etc/passwd
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

/** Only of the current user does Node ask the system; root is that user for a moment. Null where they have no name. */
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

/** Looks, and tries: real, effective and saved id have to be theirs, and no way may lead back. */
function isStillRoot(uid: number): boolean {
  try {
    process.seteuid?.(0);
    return true;
  } catch {
    // as it should be
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
    'Run amesh as that user: sudo -u, or in a container --user.',
  );
}
