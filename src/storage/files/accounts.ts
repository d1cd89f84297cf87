import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';

/** A user in /etc/passwd. Users of a directory service are not included. */
interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** A user for messages: `deploy (uid 1000)`, or `uid 1000` without a name in /etc/passwd. */
export function userText(uid: number): string {
  if (uid === 0) return 'root';
  const name = nameOf(uid);
  return name === null ? `uid ${uid}` : `${name} (uid ${uid})`;
}

/** The name of a user; null if /etc/passwd has none. */
export function nameOf(uid: number): string | null {
  return accounts().find((account) => account.uid === uid)?.name ?? null;
}

/** The name of this process's user, including users of a directory service; null if it has none, as in many containers. */
export function ownName(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

/** The home folder of a user; null if /etc/passwd names no usable folder. */
export function homeOf(uid: number): string | null {
  const home = accounts().find((account) => account.uid === uid)?.home;
  return home === undefined || !/^\/./.test(home) || home === '/nonexistent' ? null : home;
}

/**
 * Whether a group contains only one user, and root, as on systems with a private group per user and umask 002. A group
 * that these files do not fully describe counts as shared.
 */
export function isPrivateGroup(gid: number, uid: number): boolean {
  const all = accounts();
  const own = all.filter((account) => account.uid === uid || account.uid === 0).map(({ name }) => name);
  const users = all.filter((account) => account.gid === gid).map(({ name }) => name);
  const group = linesOf('/etc/group').find(([, , id]) => Number(id) === gid && id !== '');
  if (group === undefined || !all.some((account) => account.uid === uid && account.gid === gid)) return false;
  const members = (group[3] ?? '').split(',').filter((name) => name !== '');
  return [...users, ...members].every((name) => own.includes(name));
}

function accounts(): Account[] {
  return linesOf('/etc/passwd')
    .filter(([name = '', , uid = '', gid = '']) => name !== '' && /^\d+$/.test(uid) && /^\d+$/.test(gid))
    .map(([name = '', , uid, gid, , home = '']) => ({ name, uid: Number(uid), gid: Number(gid), home }));
}

function linesOf(path: string): string[][] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
  } catch {
    return []; // nothing is known about users then
  }
}
