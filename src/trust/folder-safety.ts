import { join } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';
import { homeOf, isPrivateGroup, nameOf, userText } from '../storage/files/accounts';
import { modelessText } from '../storage/files/modeless-volume';
import { type Step, stepsTo } from '../storage/files/path-steps';
import { TRUST_CODES } from './errors/codes';
import { IDENTITY_KEY } from './identity';
import { ALLOW_LIST_KEY, PAGES_FOLDER } from './list/keys';

/** One way in which another user could replace the contents of the identity's folder. */
export interface FolderFinding {
  /** `foreign`: another user owns part of the path. `open`: others can write to part of it, or it cannot be checked. */
  readonly kind: 'foreign' | 'open';
  /** The folder, file or link that is unsafe. */
  readonly path: string;
  /** What is wrong, one sentence. */
  readonly message: string;
  /** The command or sentence that fixes it. */
  readonly fix: string;
}

/** The folder to inspect, and for whom. */
interface Look {
  /** Whether this step is inside the folder, not on the path to it. */
  readonly isInside: boolean;
  readonly dir: string;
  readonly own: number;
  /** The users who may own part of the path: root, this user, and the users in AMESH_FOLDER_OWNERS. */
  readonly trusted: ReadonlySet<number>;
  /** The owner of the file system's root, who could replace everything anyway. In a user namespace this may be `nobody`. */
  readonly top: number;
}

const [GROUP_WRITES, OTHERS_WRITE, STICKY] = [0o020, 0o002, 0o1000];

/** The files and folders that decide whom this machine trusts. */
const DECIDING: readonly string[] = [IDENTITY_KEY, ALLOW_LIST_KEY, PAGES_FOLDER, 'keys', '.passphrase'];

/**
 * Finds out whether another user could replace the contents of a folder. A user who can write to a folder can rename its
 * entries. So root or the user of this process must own each folder from the root of the file system down to this one,
 * and no other user may write there. In a sticky folder such as /tmp, where users can rename only their own entries, the
 * next step of the path must belong to root or this user as well. Each symbolic link is checked, too.
 *
 * @param dir an absolute path, which need not exist
 * @returns the worst finding first; nothing on Windows, where POSIX owners and modes have no meaning
 * @throws TypeError for a malformed AMESH_FOLDER_OWNERS
 */
export function inspectFolder(dir: string, env: Env): FolderFinding[] {
  const more = readFolderOwners(env);
  if (more === 'any' || process.platform === 'win32') return [];
  const seen = new Map<string, FolderFinding | null>();
  let own: number;
  try {
    own = process.geteuid?.() ?? 0;
    let look: Look | undefined;
    for (const step of stepsTo(dir)) {
      look ??= { isInside: false, dir, own, trusted: new Set([0, own, ...more]), top: step.stats.uid };
      seen.set(step.path, judge(step, look));
    }
    if (look !== undefined) lookInside(look, seen);
  } catch (error) {
    const { message } = error as Error;
    const fix = 'Give this process permission to read each folder of that path.';
    seen.set('', {
      kind: 'open',
      path: dir,
      message: `The path to ${dir} cannot be checked: ${message}.`,
      fix,
    });
  }
  return [...seen.values()]
    .filter((finding) => finding !== null)
    .sort((a, b) => Number(a.kind === 'open') - Number(b.kind === 'open'));
}

/**
 * @param use `read` ignores folders that others can write to: containers often have no other users
 * @throws AmeshError `folder_unsafe`
 */
export function assertFolder(dir: string, env: Env, use: 'read' | 'change'): void {
  const worst = inspectFolder(dir, env).find(({ kind }) => kind === 'foreign' || use === 'change');
  if (worst !== undefined) throw new AmeshError(TRUST_CODES.folder_unsafe, worst.message, { fix: worst.fix });
}

/** @throws VariableError */
function readFolderOwners(env: Env): readonly number[] | 'any' {
  const text = readVariable(env, 'AMESH_FOLDER_OWNERS', 'unset');
  if (text === undefined) return [];
  if (text === 'any') return text;
  const ids = text.split(',').map((id) => id.trim());
  if (ids.every((id) => /^\d{1,10}$/.test(id))) return ids.map(Number);
  throw new VariableError('AMESH_FOLDER_OWNERS', 'must be user IDs separated by commas, or any.');
}

/** Checks each file that decides, through its own symbolic links: a mounted secret consists of those. */
function lookInside(look: Look, seen: Map<string, FolderFinding | null>): void {
  for (const name of DECIDING) {
    try {
      for (const step of stepsTo(join(look.dir, name))) {
        if (!seen.has(step.path)) seen.set(step.path, judge(step, { ...look, isInside: true }));
      }
    } catch {
      // The code that reads the file reports why that fails.
    }
  }
}

function judge(step: Step, look: Look): FolderFinding | null {
  const { path, stats, parent, isEnd } = step;
  const { isInside, dir, own, trusted, top } = look;
  const isInOpen = parent !== null && writers(parent, own) !== null;
  if (stats.isSymbolicLink() && !isInOpen) return null; // only the folder's owner can replace it
  const isTrusted = trusted.has(stats.uid) || (stats.uid === top && !isInOpen);
  if (!isTrusted && (!isInside || isInOpen)) return foreign(step, look);
  // Only root can give this file to another user. If we are root, we may have done so, so that the server of that user can read it.
  if (!isTrusted && own !== 0) {
    const message = `${path} belongs to ${userText(stats.uid)}, who can change it.`;
    return { kind: 'open', path, message, fix: `sudo chown -R ${toOwner(own)} ${quoted(path)}` };
  }
  const who = stats.isSymbolicLink() ? null : writers(step, own);
  if (who === null) return null;
  const mode = `0${(stats.mode & 0o7777).toString(8).padStart(3, '0')}`;
  const written = `${path} can be written by ${who} (${mode})`;
  const sudo = stats.uid === own ? '' : 'sudo ';
  if (stats.isDirectory() && (stats.mode & STICKY) !== 0) {
    if (isInside || !isEnd || hasIdentity(dir)) return null;
    const fix = `Use a folder in it: export AUTH_MESH_DIR=${quoted(join(dir, 'amesh'))}`;
    return { kind: 'open', path, message: `${written}, who can create files in it first.`, fix };
  }
  const mode700 = stats.isDirectory() ? '700' : 'go-w';
  const chmod = `${sudo}chmod ${isEnd ? mode700 : stats.uid === 0 ? '+t' : 'go-w'} ${quoted(path)}`;
  const modeless = modelessText(path);
  const fix = modeless === null ? chmod : `${chmod}   ${modeless}`;
  const what = isEnd ? '.' : `, who can replace ${dir}.`;
  return { kind: 'open', path, message: written + what, fix };
}

function foreign({ path, stats, isEnd }: Step, { dir, own }: Look): FolderFinding {
  const them = userText(stats.uid);
  const what = isEnd ? `, and this process runs as ${userText(own)}.` : `, who can replace ${dir}.`;
  const home = homeOf(own);
  const better = home === null ? null : join(home, '.amesh');
  const isOwn = better !== null && (path === home || path === better);
  const mend = isOwn
    ? `sudo chown ${path === home ? '' : '-R '}${toOwner(own)} ${quoted(path)}`
    : `Use a folder of your own: export AUTH_MESH_DIR=${quoted(better ?? '/var/lib/amesh')}`;
  return {
    kind: 'foreign',
    path,
    message: `${path} belongs to ${them}${what}`,
    fix: `${mend}   Or run this command as that user. If that user may decide whom this machine trusts: export AMESH_FOLDER_OWNERS=${stats.uid}`,
  };
}

/** Who can write there, apart from the owner and root; null if nobody can. */
function writers({ stats: { mode, gid, uid } }: Step, own: number): string | null {
  if ((mode & OTHERS_WRITE) !== 0) return 'everybody';
  if ((mode & GROUP_WRITES) === 0 || isPrivateGroup(gid, own) || isPrivateGroup(gid, uid)) return null;
  return `the group ${gid}`;
}

function hasIdentity(dir: string): boolean {
  return [...stepsTo(join(dir, IDENTITY_KEY))].some(({ isEnd }) => isEnd);
}

function toOwner(uid: number): string {
  return nameOf(uid) ?? String(uid);
}

function quoted(path: string): string {
  return /^[\w.,:@+=/-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
