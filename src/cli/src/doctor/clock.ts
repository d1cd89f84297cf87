import type { DeviceIdentity, Inspected } from '@authmesh/sdk/admin';
import { isLoopback } from '@authmesh/sdk/admin';
import { momentText } from '../words/duration';
import { fetchFromHere } from './fetch';
import { type Finding, failed, ok, skipped, warning } from './finding';

/** What instances behind one address may differ by, and what a server refuses beyond. */
const LIMITS = Object.freeze({ instances: 10, requests: 30 });

export const SET_CLOCK = 'sudo timedatectl set-ntp true';

/** The clock of somebody else. */
export interface SeenClock {
  readonly host: string;
  /** Theirs minus ours, at least; 0 where they may be the same. */
  readonly aheadSeconds: number;
  /** Whether it came over plain http from another machine, so that somebody on the way may have written it. */
  readonly isUnproven?: boolean;
}

/** What a server says that the time is; null where it does not say. */
export async function clockOf(url: URL, signal: AbortSignal): Promise<SeenClock | null> {
  const askedAtMs = Date.now();
  try {
    const response = await fetchFromHere(url, { signal, redirect: 'manual' });
    await response.body?.cancel();
    return clockIn(url, response, askedAtMs);
  } catch {
    return null;
  }
}

/** @param askedAtMs when it was asked, Unix milliseconds: the answer was written between then and now */
export function clockIn(url: URL, response: Response, askedAtMs: number): SeenClock | null {
  const isPrivate = url.protocol === 'https:' || isLoopback(url.host);
  const difference = differenceIn(response, askedAtMs);
  return difference === null ? null : { host: url.host, ...difference, isUnproven: !isPrivate };
}

/** What an answer says of the clock that wrote it, believed or not; null where it says nothing. */
export function differenceIn(
  { headers }: Response,
  askedAtMs: number,
): Pick<SeenClock, 'aheadSeconds'> | null {
  const dateMs = Date.parse(headers.get('date') ?? '');
  if (Number.isNaN(dateMs) || headers.has('age')) return null;
  const [least, most] = [dateMs - Date.now(), dateMs + 1000 - askedAtMs]; // a Date header has whole seconds
  const aheadMs = least > 0 ? least : Math.min(most, 0);
  return { aheadSeconds: Math.round(aheadMs / 1000) };
}

/** By the clocks of others, and by what this machine itself has written down. */
export async function checkClock(
  clocks: readonly (SeenClock | null | undefined)[],
  identity: DeviceIdentity | undefined,
  inspected: Inspected | undefined,
): Promise<Finding> {
  const written = Math.max(identity?.createdAt ?? 0, inspected?.document.updatedAt ?? 0);
  const lastSeen = inspected?.lastSeenAt ?? 0;
  const nowSeconds = Date.now() / 1000;
  if (Math.max(written, lastSeen) > nowSeconds + LIMITS.requests) {
    const what = written >= lastSeen ? 'something was written' : 'a device was let in';
    return failed(
      `It is behind: ${what} here at ${momentText(Math.max(written, lastSeen))}. If it was set back while a server ran, that server refuses signed requests until the old time has come again, or until it is restarted; its log says when.`,
      SET_CLOCK,
    );
  }
  const seen = clocks.filter((clock) => clock !== null && clock !== undefined);
  // A clock that nothing proves counts only where there is no other.
  const proven = seen.filter(({ isUnproven }) => !isUnproven);
  const asked = proven.length > 0 ? proven : seen;
  const worst = asked.sort((a, b) => Math.abs(b.aheadSeconds) - Math.abs(a.aheadSeconds))[0];
  if (worst === undefined) return skipped('Nobody is there to compare it with.');
  const difference = Math.abs(worst.aheadSeconds);
  const text = `${difference} s ${worst.aheadSeconds > 0 ? 'behind' : 'ahead of'} the clock of ${worst.host}.`;
  if (worst.isUnproven) {
    const unproven = `${difference === 0 ? `The same as the clock of ${worst.host}.` : text} Over plain http nobody proves that.`;
    return difference > LIMITS.requests ? warning(unproven, SET_CLOCK) : skipped(unproven);
  }
  if (difference > LIMITS.requests) {
    return failed(`${text} Servers refuse what differs by more than ${LIMITS.requests} s.`, SET_CLOCK);
  }
  if (difference > LIMITS.instances) {
    return warning(`${text} Instances that share nonces may differ by ${LIMITS.instances} s.`, SET_CLOCK);
  }
  return ok(difference === 0 ? `The same as the clock of ${worst.host}.` : text);
}
