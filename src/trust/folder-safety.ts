import { join } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { readVariable } from '../process/environment';
import type { Env } from '../process/home';
import { homeOf, isPrivateGroup, nameOf, userText } from '../storage/files/accounts';
import { modelessText } from '../storage/files/modeless-volume';
import { type Step, stepsTo } from '../storage/files/path-steps';
import { TRUST_CODES } from './errors/codes';
import { IDENTITY_KEY } from './identity';
import { ALLOW_LIST_KEY } from './list/trust-store';

/** One reason for which another user could replace what lies in the folder of an identity. */
export interface FolderFinding {
  /** `foreign`: another user owns something on the way. `open`: others can write there, or it cannot be told. */
  readonly kind: 'foreign' | 'open';
  /** The folder, file or link that is wrong. */
  readonly path: string;
  /** What is wrong, one sentence. */
  readonly message: string;
  /** The command or the sentence that mends it. */
  readonly fix: string;
}

/** Who looks at which folder. */
interface Look {
  readonly dir: string;
  readonly own: number;
  /** The users who may own a folder: root, this user, and those of AMESH_FOLDER_OWNERS. */
  readonly trusted: ReadonlySet<number>;
  /** Who owns the root of the file system, and so could replace everything. In a user namespace that may be nobody. */
  readonly top: number;
}

const [GROUP_WRITES, OTHERS_WRITE, STICKY] = [0o020, 0o002, 0o1000];

/** What decides whom this machine trusts. */
const DECIDING: readonly string[] = [IDENTITY_KEY, ALLOW_LIST_KEY, 'keys', '.passphrase'];

/**
 * A user who can write to a folder can rename what is in it. So each folder from the root of the file system down to this
 * one has to belong to root or to the user of this process, and nobody else may write there. In a folder such as /tmp,
 * where each user renames only what is theirs, the name that leads on has to be theirs, too. Links are followed one by one.
 *
 * @param dir an absolute path, where nothing need lie yet
 * @returns the worst first; nothing on Windows, where owners and modes say nothing
 * @throws TypeError for an AMESH_FOLDER_OWNERS that names no users
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
      look ??= { dir, own, trusted: new Set([0, own, ...more]), top: step.stats.uid };
      seen.set(step.path, judge(step, look));
    }
    if (look !== undefined) lookInside(look, seen);
  } catch (error) {
    const { message } = error as Error;
    const fix = 'Let this process look at each folder that leads there.';
    seen.set('', {
      kind: 'open',
      path: dir,
      message: `The way to ${dir} cannot be checked: ${message}.`,
      fix,
    });
  }
  return [...seen.values()]
    .filter((finding) => finding !== null)
    .sort((a, b) => Number(a.kind === 'open') - Number(b.kind === 'open'));
}

/**
 * @param use `read` lets pass what others can write: in a container there are often no others
 * @throws AmeshError `folder_unsafe`
 */
export function assertFolder(dir: string, env: Env, use: 'read' | 'change'): void {
  const worst = inspectFolder(dir, env).find(({ kind }) => kind === 'foreign' || use === 'change');
  if (worst !== undefined) throw new AmeshError(TRUST_CODES.folder_unsafe, worst.message, { fix: worst.fix });
}

/** @throws TypeError */
function readFolderOwners(env: Env): readonly number[] | 'any' {
  const text = readVariable(env, 'AMESH_FOLDER_OWNERS', 'unset');
  if (text === undefined) return [];
  if (text === 'any') return text;
  const ids = text.split(',').map((id) => id.trim());
  if (ids.every((id) => /^\d{1,10}$/.test(id))) return ids.map(Number);
  throw new TypeError('AMESH_FOLDER_OWNERS takes user ids with commas between them, or any.');
}

/** The files that decide, each through its own links: a mounted secret is made of those. */
function lookInside(look: Look, seen: Map<string, FolderFinding | null>): void {
  for (const name of DECIDING) {
    try {
      for (const step of stepsTo(join(look.dir, name))) {
        if (!seen.has(step.path)) seen.set(step.path, judge(step, look, true));
      }
    } catch {
      // The code that reads the file says why it cannot.
    }
  }
}

function judge(step: Step, look: Look, isInside = false): FolderFinding | null {
  const { path, stats, parent, isEnd } = step;
  const { dir, own, trusted, top } = look;
  const isInOpen = parent !== null && writers(parent, own) !== null;
  if (stats.isSymbolicLink() && !isInOpen) return null; // only the owner of its folder can change it
  const isTrusted = trusted.has(stats.uid) || (stats.uid === top && !isInOpen);
  if (!isTrusted && (!isInside || isInOpen)) return foreign(step, look);
  // Nobody but root has given it to them; and root may have, so that a server of theirs can read it.
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
    return { kind: 'open', path, message: `${written}, before this user does.`, fix };
  }
  const mode700 = stats.isDirectory() ? '700' : 'go-w';
  const chmod = `${sudo}chmod ${isEnd ? mode700 : stats.uid === 0 ? '+t' : 'go-w'} ${quoted(path)}`;
  const modeless = modelessText(path);
  const fix = modeless === null ? chmod : `${chmod}   ${modeless}`;
  const what = isEnd ? '.' : `, who can put another folder in the place of ${dir}.`;
  return { kind: 'open', path, message: written + what, fix };
}

function foreign({ path, stats, isEnd }: Step, { dir, own }: Look): FolderFinding {
  const them = userText(stats.uid);
  const what = isEnd
    ? `, and this process runs as ${userText(own)}.`
    : `, who can put another folder in the place of ${dir}.`;
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
    fix: `${mend}   Or run it as that user. If they may decide whom this machine trusts: export AMESH_FOLDER_OWNERS=${stats.uid}`,
  };
}

/** Who can write there, beside the owner and root; null where nobody can. */
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
