import { Fault } from './fault';

/** How far the clocks of a target's instances may differ: what a nonce is kept beyond the last moment it could count. */
const INSTANCE_SKEW_MS = 10_000;

export interface FreshnessOptions {
  readonly clockSkewSeconds: number;
  readonly nonceWindowSeconds: number;
}

/** Check 4: signed within the window, not after its end, and not before a forgetful nonce store came to be. */
export function checkFreshness(
  times: { created: number; expires?: number | undefined },
  nowMs: number,
  options: FreshnessOptions,
  startedAt: number | undefined,
): Fault | null {
  const ageMs = nowMs - times.created * 1000;
  if (Math.abs(ageMs) > options.clockSkewSeconds * 1000) {
    const direction = ageMs > 0 ? 'ago' : 'in the future';
    return new Fault(
      'timestamp_out_of_range',
      `The request was signed ${Math.round(Math.abs(ageMs) / 1000)} s ${direction}.`,
    );
  }
  if (times.expires !== undefined && nowMs > times.expires * 1000) {
    return new Fault('timestamp_out_of_range', 'The signature has expired.');
  }
  if (startedAt !== undefined && times.created < startedAt) {
    return new Fault(
      'timestamp_out_of_range',
      'The request was signed before this server started, which keeps its nonces in memory.',
    );
  }
  return null;
}

/** Until when a nonce has to be remembered, in Unix milliseconds. */
export function keepUntilMs(created: number, nowMs: number, options: FreshnessOptions): number {
  const replayable = (created + options.clockSkewSeconds) * 1000 + INSTANCE_SKEW_MS;
  return Math.max(replayable, nowMs + options.nonceWindowSeconds * 1000);
}
