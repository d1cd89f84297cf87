import { assertFolder } from '@authmesh/sdk/admin';
import { assertVariables } from './environment';
import { machineDir } from './machine';
import { becomeOwner, ownerToBecome } from './owner';

/** These have nothing to do with the folder. */
const ELSEWHERE: ReadonlySet<string> = new Set(['amesh', 'amesh complete', 'amesh relay']);

/** These only look, and so may in a container where everybody can write the folder, and nobody else is. */
const LOOKING: ReadonlySet<string> = new Set([
  'amesh list',
  'amesh status',
  'amesh whoami',
  'amesh tokens',
  'amesh config',
]);

/**
 * Sees to it that a command acts on the folder of this machine as the user whose it is, and that nobody else can put
 * another one in its place.
 *
 * @param path the command, as it is typed
 * @returns what a person should know, line by line
 * @throws CommandError `cannot_become_owner`; AmeshError `folder_unsafe`; TypeError for a wrong variable
 */
export async function enterFolder(path: string): Promise<string[]> {
  if (ELSEWHERE.has(path)) return [];
  if (path !== 'amesh doctor') await assertVariables(process.env); // doctor tells of each
  const dir = machineDir();
  const owner = ownerToBecome(dir);
  const acting = owner === null ? null : await becomeOwner(owner);
  // Looked at by that user, and after root has gone: a link that is exchanged now leads nobody anywhere.
  const isChange = acting !== null || !LOOKING.has(path);
  if (path !== 'amesh doctor') assertFolder(dir, process.env, isChange ? 'change' : 'read');
  return owner === null ? [] : [`  Acting as ${acting}, who owns ${owner.path}`];
}
