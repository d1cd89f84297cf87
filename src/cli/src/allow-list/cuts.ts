import type { DeviceEntry, EndedDelegation } from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { here } from '../words/here';

/** Which working keys and delegations of a device were cut off; empty if none were. */
export function cutText({ keysSince }: Pick<DeviceEntry, 'keysSince'>): string {
  if (keysSince === undefined) return '';
  return `working keys and delegations that begin before ${momentText(keysSince)} are refused`;
}

/** Says where revoked delegations are listed. */
export function endedNotes(ended: readonly EndedDelegation[]): string[] {
  if (ended.length === 0) return [];
  const count = ended.length === 1 ? 'One delegation is' : `${ended.length} delegations are`;
  return [`  ${count} revoked here: ${here('amesh status')}`];
}

/** A revoked delegation for people. */
export function endedText({ id, until }: EndedDelegation): string {
  return `${id}  (remembered until ${momentText(until)})`;
}
