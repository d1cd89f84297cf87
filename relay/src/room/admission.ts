import type { LimitReached } from '../limits/fair-share';
import { NetworkRateLimit } from '../limits/rate-limit';
import type { RelayErrorCode } from '../wire/frames';
import type { RoomContext } from './context';
import type { Client } from './states';

/** After how many seconds an address that has its maximum should try again. */
export const ADDRESS_RETRY_SECONDS = 60;

/** Decides whether a client may open a code or a mailbox. */
export class Admission<S> {
  readonly #context: RoomContext<S>;
  readonly #opened: NetworkRateLimit;
  #isDraining = false;
  #isClusterConnected = false;

  constructor(context: RoomContext<S>) {
    this.#context = context;
    this.#opened = new NetworkRateLimit(context.limits.listensPerMinute);
  }

  get rememberedAddresses(): number {
    return this.#opened.size;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Whether codes and mailboxes can be looked up: always without a cluster; otherwise while the cluster is connected. */
  get isAvailable(): boolean {
    return this.#isClusterConnected || !this.#context.isClustered;
  }

  /** Stops admitting clients. */
  drain(): void {
    this.#isDraining = true;
  }

  connectCluster(): void {
    this.#isClusterConnected = true;
  }

  loseCluster(): void {
    this.#isClusterConnected = false;
  }

  /**
   * Admits the client and counts it, or refuses it.
   *
   * @param makeSpace called last; returns the reason if there is no space
   * @returns whether the client was admitted
   */
  admit(client: Client<S>, makeSpace: () => LimitReached | undefined): boolean {
    const { nowMs } = this.#context;
    const retryAfterSeconds = this.#opened.retryAfterSeconds(client.address, nowMs);
    if (this.#isDraining) return this.#refuse(client, 'draining');
    if (retryAfterSeconds > 0) return this.#refuse(client, 'rate_limited', retryAfterSeconds);
    if (!this.isAvailable) return this.#refuse(client, 'unavailable');
    const full = makeSpace();
    if (full === 'rate_limited') return this.#refuse(client, full, ADDRESS_RETRY_SECONDS);
    if (full !== undefined) return this.#refuse(client, full);
    this.#opened.add(client.address, nowMs);
    return true;
  }

  sweep(): void {
    this.#opened.sweep(this.#context.nowMs);
  }

  #refuse(client: Client<S>, code: RelayErrorCode, retryAfterSeconds?: number): false {
    this.#context.refuse(client, code, retryAfterSeconds);
    return false;
  }
}
