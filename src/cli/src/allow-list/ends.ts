import { type DeviceEntry, dueWarning, type Ending, endingOf, type ListHead } from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { here } from '../words/here';

/** How many ends are named. */
const MAX_NAMED = 5;

/** The ends for which a warning is due, and past ends that can be moved; the earliest first. */
export function dueEnds(devices: readonly DeviceEntry[], head: ListHead, nowSeconds: number): Ending[] {
  return devices
    .flatMap((device) => endingOf(device, head) ?? [])
    .filter((ending) => isDue(ending, nowSeconds))
    .sort((a, b) => a.endsAt - b.endsAt);
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
