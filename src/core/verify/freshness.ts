import { REQUEST_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { momentText } from '../moment';
import { INSTANCE_SKEW_MS, MAX_CLOCK_SKEW_SECONDS, type NonceStore } from '../nonces/nonce-store';

/** A verifier's settings for times, with defaults. */
export interface FreshnessOptions {
  /** How far `created` may differ from the clock, in seconds, 1 to 300; default 30. */
  readonly clockSkewSeconds: number;
  /** How long to remember a nonce at least, in seconds. */
  readonly nonceWindowSeconds: number;
}

/** Check 4: the time is within the window, the signature has not expired, and the nonce store remembers that time. */
export function checkFreshness(
  times: { created: number; expires?: number | undefined },
  nowMs: number,
  options: FreshnessOptions,
  startedAt: number | undefined,
): Fault | null {
  const ageMs = nowMs - times.created * 1000;
  // In this form, the check accepts nothing if the clock returns no number, as `Date` itself does.
  if (!(Math.abs(ageMs) <= options.clockSkewSeconds * 1000)) {
    const direction = ageMs > 0 ? 'ago' : 'in the future';
    return new Fault(
      REQUEST_CODES.timestamp_out_of_range,
      `The request was signed ${Math.round(Math.abs(ageMs) / 1000)} s ${direction}.`,
    );
  }
  if (times.expires !== undefined && nowMs > times.expires * 1000) {
    return new Fault(REQUEST_CODES.timestamp_out_of_range, 'The signature has expired.');
  }
  return checkStart(times.created, startedAt, nowMs);
}

/**
 * Whether a refusal for this time can be proven, if the signature is right and the nonce can be claimed.
 *
 * It cannot be proven beyond the largest skew that any verifier may have: no store has to remember nonces for that long. Nor can it
 * be proven if the store has forgotten that time: the request may have been accepted before, and a proven refusal says that it was
 * not.
 */
export function mayProveTime(created: number, nowMs: number, startedAt: number | undefined): boolean {
  const isNear = Math.abs(nowMs - created * 1000) <= MAX_CLOCK_SKEW_SECONDS * 1000;
  return isNear && created >= (startedAt ?? 0);
}

/** Refuses a request whose nonce may have been claimed at a time that the store no longer remembers. */
export function checkStart(created: number, startedAt: number | undefined, nowMs: number): Fault | null {
  if (startedAt === undefined || created >= startedAt) return null;
  return new Fault(
    REQUEST_CODES.timestamp_out_of_range,
    `The request was signed before the time that this server's nonce store remembers, which starts at ${momentText(startedAt * 1000)}.`,
    // A shared store may start at the next full second.
    startedAt * 1000 > nowMs + 2000
      ? { fix: 'The clock of this server was set back: wait until then, or restart it.' }
      : undefined,
  );
}

/**
 * How long a store must remember a nonce, in Unix milliseconds: until no verifier that shares the store can accept it any
 * more. Another process may allow a larger skew than this one.
 */
export function keepUntilMs(
  store: NonceStore,
  created: number,
  nowMs: number,
  { clockSkewSeconds, nonceWindowSeconds }: FreshnessOptions,
): number {
  const skewSeconds = store.widestSkew?.(clockSkewSeconds) ?? MAX_CLOCK_SKEW_SECONDS;
  const replayable = (created + skewSeconds) * 1000 + INSTANCE_SKEW_MS;
  return Math.max(replayable, nowMs + nonceWindowSeconds * 1000);
}
