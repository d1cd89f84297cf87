import {
  type DeviceEntry,
  findGrant,
  type Grant,
  type ListHead,
  revokeGrant,
  toScopes,
} from '@authmesh/sdk/admin/list';
import type { Result } from '../command-line/command';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { confirmationsOf, refusalText } from './confirmations';
import { missingError, missingNotes, readDevices } from './devices';
import { findGrantByName } from './find-token';
import { scopesText } from './scopes';

/** Revokes a grant, and every device that it added. */
export async function revokeByGrant(idOrName: string, yes: boolean | undefined): Promise<Result> {
  const { trust, store } = await openMachine();
  const read = async () => {
    const list = await trust.read();
    return { head: list.head, ...readDevices(list) };
  };
  const before = await read();
  const added = (of: typeof before, id: string) => of.devices.filter(({ lease }) => lease?.grant === id);
  // The grant itself may have expired and be gone, with only its devices left.
  const id = added(before, idOrName).length > 0 ? idOrName : findGrantByName(before.head, idOrName).id;
  const count = added(before, id).length;
  await confirm(`Revoke the grant ${id} and ${callersText(count)} that it added?`, yes);

  const now = Math.floor(Date.now() / 1000);
  const { head, result } = await trust.update(async (draft) => {
    const { devices, missing } = await read(); // a damaged page must not protect the devices on the others
    return { gone: await revokeGrant(draft, id, now, devices), missing };
  });
  const { gone, missing } = result;
  const error = missingError(missing, 'revoked');
  const confirmations = await confirmationsOf(trust, head.revision);
  const where = refusalText(confirmations, store.dir, 'them');
  return {
    json: {
      grant: id,
      revoked: gone,
      ...(confirmations === undefined ? {} : { confirmations }),
      ...(error && { ok: false, error }),
    },
    notes: [
      `✓ Revoked the grant and ${callersText(gone.length)} that it added. ${where}`,
      ...missingNotes(missing, 'revoked'),
    ],
    ...(error && { exitCode: EXIT.failure }),
  };
}

/** Warns of grants by which a revoked device could come back with another key. */
export function comebackNotes(gone: readonly DeviceEntry[], after: ListHead): string[] {
  const ids = new Set(gone.flatMap(({ lease }) => (lease === undefined ? [] : [lease.grant])));
  return [...ids].flatMap((id) => {
    const grant = openGrant(after, id);
    if (grant === undefined) return [];
    return [
      `! A grant added it, and is open for ${callersText(grant.uses - grant.used)} more until ${momentText(grant.expiresAt)}: anybody with its token can come back with another key.`,
      `  To revoke the grant and every device it added:  ${here(`amesh revoke --grant ${id}`)}`,
      `  To close the grant to new callers:              ${here(`amesh tokens cancel ${id}`)}`,
    ];
  });
}

/** Warns of the grant by which a device could get scopes again that were taken from it. */
export function regainNotes({ lease }: DeviceEntry, removed: readonly string[], after: ListHead): string[] {
  const grant = lease && openGrant(after, lease.grant);
  const given = grant?.scopes?.filter((scope) => removed.some((each) => overlaps(each, scope))) ?? [];
  if (grant === undefined || given.length === 0) return [];
  return [
    `! It enrolled by a grant, which gives ${scopesText(given)} and is open until ${momentText(grant.expiresAt)}: it has that again if its lease ends and it enrols again.`,
    `  To close the grant to new callers:  ${here(`amesh tokens cancel ${grant.id}`)}`,
  ];
}

function overlaps(a: string, b: string): boolean {
  return toScopes([a, b]).length === 1;
}

function openGrant(head: ListHead, id: string): Grant | undefined {
  const grant = findGrant(head, id);
  const isOpen = grant !== undefined && grant.expiresAt > Date.now() / 1000 && grant.used < grant.uses;
  return isOpen ? grant : undefined;
}

function callersText(count: number): string {
  return count === 1 ? 'one caller' : `${count} callers`;
}
