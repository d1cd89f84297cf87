import { assertFolder } from '@authmesh/sdk/admin/list';
import { assertVariables } from './environment';
import { machineDir } from './machine';
import { becomeOwner, ownerToBecome } from './owner';

/** Commands that do not use the folder. */
const ELSEWHERE: ReadonlySet<string> = new Set(['amesh', 'amesh complete', 'amesh relay']);

/** Commands that only read. They also work in a container where everybody can write to the folder. */
const LOOKING: ReadonlySet<string> = new Set([
  'amesh list',
  'amesh can',
  'amesh status',
  'amesh whoami',
  'amesh keys',
  'amesh tokens',
  'amesh config',
]);

/**
 * Makes a command act as the user who owns the folder of this machine, and checks that no other user can replace it.
 *
 * @param path the command as typed
 * @returns notes for the user, line by line
 * @throws CommandError `cannot_become_owner`; AmeshError `folder_unsafe`; TypeError for a wrong variable
 */
export async function enterFolder(path: string): Promise<string[]> {
  if (ELSEWHERE.has(path)) return [];
  if (path !== 'amesh doctor') await assertVariables(process.env); // doctor reports each
  const dir = machineDir();
  const owner = ownerToBecome(dir);
  const acting = owner === null ? null : await becomeOwner(owner);
  // Checked as that user, after root privileges are gone: replacing a symbolic link now gains nothing.
  const isChange = acting !== null || !LOOKING.has(path);
  if (path !== 'amesh doctor') assertFolder(dir, process.env, isChange ? 'change' : 'read');
  return owner === null ? [] : [`  Acting as ${acting}, who owns ${owner.path}`];
}
