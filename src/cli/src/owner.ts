import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { machineDir } from './machine';

/**
 * Run as root on the folder of another user, as with sudo, this process becomes that user for good. What it writes
 * stays theirs, so that their server can read it; and whoever owns the folder cannot turn a name in it into a link by
 * which root writes elsewhere.
 */
export function becomeOwner(): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = ownerOf(machineDir());
  if (uid === 0) return;
  process.setgroups?.([gid]);
  process.setegid?.(gid);
  process.seteuid?.(uid);
}

/** The owner of a folder, or of the nearest one above it that is there. */
function ownerOf(path: string): { uid: number; gid: number } {
  try {
    return statSync(path);
  } catch {
    return ownerOf(dirname(path));
  }
}
