import type { Inspected } from '@authmesh/sdk/admin';
import { type DeviceIdentity, isLoopback } from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { fetchFromHere } from './fetch';
import { type Finding, failed, ok, skipped, warning } from './finding';

/** How far the clocks of instances behind one address may differ, and the limit beyond which servers refuse requests. */
const LIMITS = Object.freeze({ instances: 10, requests: 30 });

export const SET_CLOCK = 'sudo timedatectl set-ntp true';

/** The clock of another machine. */
export interface SeenClock {
  readonly host: string;
  /** The least possible value of their time minus ours; 0 if the clocks may be equal. */
  readonly aheadSeconds: number;
  /** Whether the time came over plain http from another machine, so that somebody in between may have written it. */
  readonly isUnproven?: boolean;
}

/** The time of a server; null if it does not show it. */
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

/** @param askedAtMs when the request was sent, Unix milliseconds: the response was written between then and now */
export function clockIn(url: URL, response: Response, askedAtMs: number): SeenClock | null {
  const isPrivate = url.protocol === 'https:' || isLoopback(url.host);
  const difference = differenceIn(response, askedAtMs);
  return difference === null ? null : { host: url.host, ...difference, isUnproven: !isPrivate };
}

/** The clock difference in a response, whether it can be trusted or not; null if the response shows no time. */
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

/** Compares the clock with those of other machines, and with the times that this machine has stored. */
export async function checkClock(
  clocks: readonly (SeenClock | null | undefined)[],
  identity: DeviceIdentity | undefined,
  inspected: Inspected | undefined,
): Promise<Finding> {
  const written = Math.max(identity?.createdAt ?? 0, inspected?.list.head.updatedAt ?? 0);
  const lastSeen = inspected?.lastSeenAt ?? 0;
  const nowSeconds = Date.now() / 1000;
  if (Math.max(written, lastSeen) > nowSeconds + LIMITS.requests) {
    const what = written >= lastSeen ? 'something was written' : 'a device called';
    return failed(
      `It is behind: ${what} here at ${momentText(Math.max(written, lastSeen))}. If it was set back while a server ran, that server refuses signed requests until that time, or until it is restarted; its log says when.`,
      SET_CLOCK,
    );
  }
  const seen = clocks.filter((clock) => clock !== null && clock !== undefined);
  // A clock without proof is used only if there is no other.
  const proven = seen.filter(({ isUnproven }) => !isUnproven);
  const asked = proven.length > 0 ? proven : seen;
  const worst = asked.sort((a, b) => Math.abs(b.aheadSeconds) - Math.abs(a.aheadSeconds))[0];
  if (worst === undefined) return skipped('There is no clock to compare it with.');
  const difference = Math.abs(worst.aheadSeconds);
  const text = `${difference} s ${worst.aheadSeconds > 0 ? 'behind' : 'ahead of'} the clock of ${worst.host}.`;
  if (worst.isUnproven) {
    const unproven = `${difference === 0 ? `The same as the clock of ${worst.host}.` : text} Over plain http nothing proves that.`;
    return difference > LIMITS.requests ? warning(unproven, SET_CLOCK) : skipped(unproven);
  }
  if (difference > LIMITS.requests) {
    return failed(
      `${text} Servers refuse requests if the clocks differ by more than ${LIMITS.requests} s.`,
      SET_CLOCK,
    );
  }
  if (difference > LIMITS.instances) {
    return warning(
      `${text} The clocks of instances that share nonces may differ by at most ${LIMITS.instances} s.`,
      SET_CLOCK,
    );
  }
  return ok(difference === 0 ? `The same as the clock of ${worst.host}.` : text);
}
