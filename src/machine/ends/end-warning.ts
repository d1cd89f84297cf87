import type { Ending, WARNING_DAYS } from '../../trust/rights/ends';

/** How many devices a line names. */
export const MAX_NAMED = 5;

/** How many days before an end a warning comes. */
export type Days = (typeof WARNING_DAYS)[number];

/** The devices for which the same warning is due. */
export interface Due {
  count: number;
  /** The first of them. */
  readonly named: Ending[];
}

const SUBJECTS = {
  device: { one: 'The trust in a device ends', many: 'The trust in devices ends' },
  lease: { one: 'A lease ends for good', many: 'Leases end for good' },
} as const;

const ADVICE = {
  device: 'To move an end: amesh allow ID --expires 90d',
  lease: 'To let a caller stay, pair it, or give it the token of a new grant: amesh grant',
} as const;

/** A line for the log. */
export function describeEnds(kind: Ending['kind'], days: Days, { count, named }: Due): string {
  const { one, many } = SUBJECTS[kind];
  const names = named.map(({ id, name, endsAt }) => `${JSON.stringify(name)} (${id}) on ${dayText(endsAt)}`);
  const more = count > names.length ? ` and ${count - names.length} more` : '';
  return `${count === 1 ? one : many} within ${days === 1 ? '1 day' : `${days} days`}: ${names.join(', ')}${more}. See: amesh list --expires ${days}d. ${ADVICE[kind]}`;
}

function dayText(unixSeconds: number): string {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
