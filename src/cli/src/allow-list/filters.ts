import type { DeviceEntry } from '@authmesh/sdk/admin/list';
import type { ArgsDef } from 'citty';
import { durationFlag, toSeconds, UNUSED_RANGE, UP_TO_TEN_YEARS } from '../words/duration';

/** A device with the time when it was last seen here. */
export type SeenDevice = DeviceEntry & {
  /** Unix seconds; null if it was never seen. */
  readonly lastSeenAt: number | null;
  /** Since when it has certainly not called, Unix seconds; null if no record says that. */
  readonly unusedSince: number | null;
};

/** The flags that choose devices. */
export const FILTER_ARGS = {
  role: {
    type: 'enum',
    options: ['controller', 'target'] as string[],
    description: 'Only devices with this role',
  },
  name: {
    type: 'string',
    valueHint: 'pattern',
    description: "Only devices with this name, such as 'worker-*'",
  },
  unused: durationFlag('Only controllers that have not called for this long, such as 30d', UNUSED_RANGE),
  expires: durationFlag('Only devices whose trust ends within this time, such as 14d', UP_TO_TEN_YEARS),
} as const satisfies ArgsDef;

/** The values of {@link FILTER_ARGS}. */
export type Filters = { readonly [Name in keyof typeof FILTER_ARGS]?: string | undefined };

/**
 * Turns the flags of a command into one filter.
 *
 * @returns null if no filter is given
 * @throws UsageError for a value that is not a duration
 */
export function toFilter(
  { role, name, unused, expires }: Filters,
  nowSeconds: number,
): ((device: SeenDevice) => boolean) | null {
  const tests: ((device: SeenDevice) => boolean)[] = [];
  if (role !== undefined) tests.push(({ roles }) => roles.some((each) => each === role));
  if (name !== undefined) {
    const parts = name.normalize('NFC').toLowerCase().split(/\*+/);
    tests.push(({ friendlyName }) => isMatch(friendlyName.toLowerCase(), parts));
  }
  if (unused !== undefined) {
    const before = nowSeconds - toSeconds(unused, '--unused', UNUSED_RANGE);
    tests.push(
      ({ roles, unusedSince }) =>
        roles.includes('controller') && unusedSince !== null && unusedSince < before,
    );
  }
  if (expires !== undefined) {
    const until = nowSeconds + toSeconds(expires, '--expires', UP_TO_TEN_YEARS);
    tests.push((device) => (endOf(device) ?? Number.POSITIVE_INFINITY) <= until);
  }
  return tests.length === 0 ? null : (device) => tests.every((test) => test(device));
}

/**
 * When the trust in a device or its lease ends, whichever comes first; undefined if neither ends. Calls extend a lease, so its
 * latest possible end counts, unless the lease has ended.
 */
export function endOf({ expiresAt, lease }: DeviceEntry): number | undefined {
  const isOver = lease !== undefined && lease.expiresAt * 1000 < Date.now();
  const ends = [expiresAt, isOver ? lease.expiresAt : lease?.endsAt].filter((end) => end !== undefined);
  return ends.length === 0 ? undefined : Math.min(...ends);
}

/** Whether a text consists of these parts, with any text between two of them. Not a RegExp, which could take for ever. */
function isMatch(text: string, [first = '', ...others]: readonly string[]): boolean {
  const last = others.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const part of others) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
