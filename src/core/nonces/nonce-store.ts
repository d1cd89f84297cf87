/** How far the clocks of a target's instances may differ. Nonces are kept this much longer than they could count. */
export const INSTANCE_SKEW_MS = 10_000;

/** The largest `clockSkewSeconds`. */
export const MAX_CLOCK_SKEW_SECONDS = 300;

const DELEGATES = '/delegates';

/** The name under which a store counts the delegates of a device, so that they never use up the room of the device. */
export function delegatesOf(deviceId: string): string {
  return deviceId + DELEGATES;
}

/** Whether a name stands for the delegates of a device. */
export function areDelegates(name: string): boolean {
  return name.endsWith(DELEGATES);
}

/** How many nonces the delegates of one device may have in a store that has no limit of its own: an eighth of the memory store. */
export const MAX_DELEGATE_NONCES = 125_000;

/**
 * Remembers nonces for as long as their requests could be replayed.
 *
 * @see docs/protocol.md, "Nonces"
 */
export interface NonceStore {
  /**
   * Claims a nonce, atomically among all processes that share the store.
   *
   * @param deviceId the device that sent it, 19 characters; for a delegate of a device, its ID and `/delegates`
   * @param nonce 22 base64url characters
   * @param keepUntilMs how long the claim must last, Unix milliseconds
   * @returns true the first time, false if it was claimed before
   * @throws if it cannot tell; the request is then refused with 503 `nonce_store_unavailable`
   */
  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean | Promise<boolean>;
  /**
   * Unix seconds. For a store that may have forgotten nonces: the time from which it remembers all. Older requests are
   * refused, so that a restart allows no replay. It is read before and after each claim, so it may change.
   */
  readonly startedAt?: number | undefined;
  /**
   * Only for a store in this process. Each verifier reports its `clockSkewSeconds` when it is created and before each
   * claim, and keeps its claims for the largest reported value. Without this method claims are kept for 300 s, since a
   * verifier elsewhere may allow that much.
   *
   * @param nowMs the current time of a verifier that was just created, Unix milliseconds
   * @returns the largest value so far, in seconds
   */
  widestSkew?(clockSkewSeconds: number, nowMs?: number): number;
}
