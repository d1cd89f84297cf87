/** How far the clocks of a target's instances may differ: what a nonce is kept beyond the last moment it could count. */
export const INSTANCE_SKEW_MS = 10_000;

/** The most that `clockSkewSeconds` may be. */
export const MAX_CLOCK_SKEW_SECONDS = 300;

/**
 * Remembers nonces for as long as a request could be replayed.
 *
 * @see docs/protocol.md, "Nonces"
 */
export interface NonceStore {
  /**
   * Claims a nonce, atomically among all that share the store.
   *
   * @param deviceId whose nonce; 19 characters
   * @param nonce 22 base64url characters
   * @param keepUntilMs until when the claim has to last, Unix milliseconds
   * @returns true the first time, false where somebody has claimed it before
   * @throws where it cannot tell; the request is then refused with 503 `nonce_store_unavailable`
   */
  claim(deviceId: string, nonce: string, keepUntilMs: number): boolean | Promise<boolean>;
  /**
   * Unix seconds. A store that may have forgotten says since when it remembers; requests created earlier are refused,
   * so that a restart opens no hole. Read before each claim and after it, so it may move on.
   */
  readonly startedAt?: number | undefined;
  /**
   * Only for a store that lives in this one process. Each verifier tells it `clockSkewSeconds`, when it is made and
   * before each claim, and keeps its claims for the largest value that any has told. Without this method claims are
   * kept for 300 s, since a verifier elsewhere may allow as much.
   *
   * @param nowMs the time by the clock of the verifier that has just been made, Unix milliseconds
   * @returns the largest value so far, seconds
   */
  widestSkew?(clockSkewSeconds: number, nowMs?: number): number;
}
