import { NetworkRateLimit } from '../limits/rate-limit';
import type { RelayErrorCode } from '../wire/frames';
import type { Hall } from './context';
import type { Client } from './session';

/** When an address that holds all that it may should try again, in seconds. */
const FULL_ADDRESS_SECONDS = 60;

/** Whether somebody may open a code or a mailbox. */
export class Admission<P> {
  /** From then on nobody may. */
  isDraining = false;
  /** Whether the other instances can be asked now. */
  hasOthers = false;
  readonly #hall: Hall<P>;
  readonly #opened: NetworkRateLimit;

  constructor(hall: Hall<P>) {
    this.#hall = hall;
    this.#opened = new NetworkRateLimit(hall.limits.listensPerMinute);
  }

  get rememberedAddresses(): number {
    return this.#opened.size;
  }

  /** Whether it is known, here or by asking, what codes and mailboxes there are. */
  get isComplete(): boolean {
    return this.hasOthers || !this.#hall.isShared;
  }

  /**
   * Whether a client may open one, which counts as an attempt; refuses it where it may not.
   *
   * @param makeRoom asked last; gives why there is none
   */
  mayOpen(client: Client<P>, makeRoom?: () => 'capacity' | 'rate_limited' | undefined): boolean {
    const { nowMs } = this.#hall;
    const retryAfter = this.#opened.retryAfter(client.address, nowMs);
    const refuse = (code: RelayErrorCode, seconds?: number) => {
      this.#hall.refuse(client, code, seconds);
      return false;
    };
    if (this.isDraining) return refuse('draining');
    if (retryAfter > 0) return refuse('rate_limited', retryAfter);
    if (!this.isComplete) return refuse('unavailable');
    const full = makeRoom?.();
    if (full !== undefined) return refuse(full, full === 'rate_limited' ? FULL_ADDRESS_SECONDS : undefined);
    this.#opened.add(client.address, nowMs);
    return true;
  }

  sweep(): void {
    this.#opened.sweep(this.#hall.nowMs);
  }
}
