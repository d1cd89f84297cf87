import type { NonceStore } from '../core/nonces/nonce-store';

/**
 * Remembers every nonce for as long as the mesh exists. Unlike the store of a server, it accepts a clock that goes back: a test may
 * set the clock to any day, and the next test to another one.
 */
export class TestNonces implements NonceStore {
  readonly #claimed = new Set<string>();

  claim(deviceId: string, nonce: string): boolean {
    const key = `${deviceId} ${nonce}`;
    if (this.#claimed.has(key)) return false;
    this.#claimed.add(key);
    return true;
  }

  widestSkew(clockSkewSeconds: number): number {
    return clockSkewSeconds;
  }
}
