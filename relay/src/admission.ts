import { RateLimit } from './address-limits';
import type { Hall } from './hall';
import type { Client } from './session';

/** Whether somebody may open a code or a mailbox. */
export class Admission<P> {
  /** From then on nobody may. */
  isDraining = false;
  /** Whether the other instances can be asked now. */
  hasOthers = false;
  readonly #hall: Hall<P>;
  readonly #inUse: () => number;
  readonly #opened: RateLimit;

  /** @param inUse how many codes, sessions and mailboxes there are */
  constructor(hall: Hall<P>, inUse: () => number) {
    this.#hall = hall;
    this.#inUse = inUse;
    this.#opened = new RateLimit(hall.limits.listensPerMinute);
  }

  get rememberedAddresses(): number {
    return this.#opened.size;
  }

  /** Whether it is known, here or by asking, what codes and mailboxes there are. */
  get isComplete(): boolean {
    return this.hasOthers || !this.#hall.isShared;
  }

  /** Whether a client may open `needed` of them, which counts as an attempt; refuses it where it may not. */
  mayOpen(client: Client<P>, needed = 1): boolean {
    const { limits, nowMs } = this.#hall;
    const retryAfter = this.#opened.retryAfter(client.address, nowMs);
    if (this.isDraining) this.#hall.refuse(client, 'draining');
    else if (retryAfter > 0) this.#hall.refuse(client, 'rate_limited', retryAfter);
    else if (!this.isComplete) this.#hall.refuse(client, 'unavailable');
    else if (this.#inUse() + needed > limits.sessions) this.#hall.refuse(client, 'capacity');
    else {
      this.#opened.add(client.address, nowMs);
      return true;
    }
    return false;
  }

  sweep(): void {
    this.#opened.sweep(this.#hall.nowMs);
  }
}
