import { REQUEST_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { momentText } from '../moment';
import { INSTANCE_SKEW_MS, MAX_CLOCK_SKEW_SECONDS, type NonceStore } from '../nonces/nonce-store';

/** The settings of a verifier by which time is judged, with their defaults filled in. */
export interface FreshnessOptions {
  /** How far `created` may be from the clock, in seconds, 1 to 300; default 30. */
  readonly clockSkewSeconds: number;
  /** How long a nonce is remembered at least, in seconds. */
  readonly nonceWindowSeconds: number;
}

/** Check 4: signed within the window, not after its end, and not before the nonce store's memory begins. */
export function checkFreshness(
  times: { created: number; expires?: number | undefined },
  nowMs: number,
  options: FreshnessOptions,
  startedAt: number | undefined,
): Fault | null {
  const ageMs = nowMs - times.created * 1000;
  // A clock that gives no number, such as `Date` itself, lets nobody in.
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

/** Its nonce may have been claimed where the store does not know of it any more. */
export function checkStart(created: number, startedAt: number | undefined, nowMs: number): Fault | null {
  if (startedAt === undefined || created >= startedAt) return null;
  return new Fault(
    REQUEST_CODES.timestamp_out_of_range,
    `The request was signed before the memory of this server's nonce store begins, at ${momentText(startedAt * 1000)}.`,
    // A shared store may begin with the next second.
    startedAt * 1000 > nowMs + 2000
      ? { fix: 'The clock of this server was set back: wait until then, or restart it.' }
      : undefined,
  );
}

/**
 * Until when a store has to remember a nonce, in Unix milliseconds: until no verifier that shares the store can take it
 * any more. One of another process may allow for more than this one does.
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
