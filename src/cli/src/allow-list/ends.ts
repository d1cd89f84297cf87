import {
  type DeviceEntry,
  dueWarning,
  type Ending,
  endingOf,
  type ListHead,
  whyEnded,
} from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { fixHere, here } from '../words/here';

/** How many ends are named. */
const MAX_NAMED = 5;

/**
 * The ends for which a warning is due, and past ends that can be moved; the earliest first. To move the end of a device whose lease
 * has ended would not help.
 */
export function dueEnds(devices: readonly DeviceEntry[], head: ListHead, nowSeconds: number): Ending[] {
  return devices
    .flatMap((device) => (isLeaseOver(device) ? [] : (endingOf(device, head) ?? [])))
    .filter((ending) => isDue(ending, nowSeconds))
    .sort((a, b) => a.endsAt - b.endsAt);
}

/** Whether a device enrolled by a grant, and has not called for too long. It may not call any more, whatever its own end. */
export function isLeaseOver({ lease }: Pick<DeviceEntry, 'lease'>): boolean {
  return lease !== undefined && lease.expiresAt * 1000 < Date.now();
}

/** Says when a device may no longer call at all. */
export function endNotes(device: DeviceEntry, head: Pick<ListHead, 'grants'>): string[] {
  const { friendlyName, expiresAt, lease } = device;
  const why = whyEnded(device, head, Date.now());
  if (why !== null && lease !== undefined && isLeaseOver(device))
    return [
      `! The lease of "${friendlyName}" ended ${momentText(lease.expiresAt)}: it may not call this machine at all, whatever the end of the trust in it.`,
      `  ${fixHere(why)}`,
    ];
  if (expiresAt === undefined) return [];
  return [
    why === null
      ? `  The trust in "${friendlyName}" ends ${momentText(expiresAt)}. After that it may not call this machine at all.`
      : `! The trust in "${friendlyName}" ended ${momentText(expiresAt)}: it may not call this machine at all. To trust it again: --expires 90d or --expires never`,
  ];
}

function isDue(ending: Ending, nowSeconds: number): boolean {
  const hasEnded = ending.kind === 'device' && ending.endsAt < nowSeconds;
  return hasEnded || dueWarning(ending, nowSeconds) !== null;
}

/** An end, for people. */
export function endText({ kind, name, endsAt }: Pick<Ending, 'kind' | 'name' | 'endsAt'>): string {
  const verb = endsAt * 1000 < Date.now() ? 'ended' : 'ends';
  const what = kind === 'device' ? 'the trust in' : 'the lease of';
  return `${what} ${JSON.stringify(name)} ${verb} ${kind === 'lease' ? 'for good ' : ''}${momentText(endsAt)}`;
}

/** Ends as warnings, line by line. */
export function endsNotes(ends: readonly Ending[]): string[] {
  const shown = ends.slice(0, MAX_NAMED).map((ending) => `! ${capital(endText(ending))}.`);
  const more = ends.length - shown.length;
  return [
    ...shown,
    ...(more > 0 ? [`! ${more} more end soon or have ended: ${here('amesh list --expires 14d')}`] : []),
    ...(ends.some(({ kind }) => kind === 'device')
      ? [`  To move an end:  ${here('amesh allow NAME --expires 90d')}`]
      : []),
  ];
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
