import {
  type AllowListDocument,
  type DeviceEntry,
  findGrant,
  grantedDevices,
  revokeGrant,
} from '@authmesh/sdk/admin';
import type { Result } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { confirmationsOf, refusalText } from './confirmations';
import { findGrantByName } from './find-token';

/** Revokes a grant, and every device that came by it. */
export async function revokeByGrant(idOrName: string, yes: boolean | undefined): Promise<Result> {
  const { trust, store } = await openMachine();
  const before = await trust.read();
  // Of a grant that is long over, those who came by it may be all that is left.
  const id = grantedDevices(before, idOrName).length > 0 ? idOrName : findGrantByName(before, idOrName).id;
  const count = grantedDevices(before, id).length;
  await confirm(`Revoke the grant ${id} and ${callersText(count)} who came by it?`, yes);

  let gone: readonly DeviceEntry[] = [];
  const after = await trust.update((document) => {
    gone = grantedDevices(document, id);
    return revokeGrant(document, id, Math.floor(Date.now() / 1000));
  });
  const confirmations = await confirmationsOf(trust, after.revision);
  const where = refusalText(confirmations, store.dir, 'them');
  return {
    json: { grant: id, revoked: gone, ...(confirmations === undefined ? {} : { confirmations }) },
    notes: [`✓ Revoked the grant and ${callersText(gone.length)} who came by it. ${where}`],
  };
}

/** Warns of grants by which devices that were just revoked can come back with another key. */
export function comebackNotes(gone: readonly DeviceEntry[], after: AllowListDocument): string[] {
  const now = Date.now() / 1000;
  const ids = new Set(gone.flatMap(({ lease }) => (lease === undefined ? [] : [lease.grant])));
  return [...ids].flatMap((id) => {
    const grant = findGrant(after, id);
    if (grant === undefined || grant.expiresAt <= now || grant.used >= grant.uses) return [];
    return [
      `! It came by a grant that is open until ${momentText(grant.expiresAt)}, for ${callersText(grant.uses - grant.used)} more: anybody who has that token can come back with another key.`,
      `  To end the grant, and every device that enrolled by it:  ${here(`amesh revoke --grant ${id}`)}`,
      `  To take no more callers by it:                           ${here(`amesh tokens cancel ${id}`)}`,
    ];
  });
}

function callersText(count: number): string {
  return count === 1 ? 'one caller' : `${count} callers`;
}
