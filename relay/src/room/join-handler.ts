import { NetworkRateLimit } from '../limits/rate-limit';
import type { Admission } from './admission';
import type { Codes } from './codes';
import type { Hall } from './context';
import type { Burn, BurnAnswer } from './effects';
import type { FarSides } from './remote-sides';
import type { Client, Session } from './session';
import type { Sessions } from './sessions';

/** Brings whoever joins to the one who listens, and counts the tries. */
export class Joining<P> {
  readonly #hall: Hall<P>;
  readonly #admission: Admission<P>;
  readonly #codes: Codes<P>;
  readonly #sessions: Sessions<P>;
  readonly #farSides: FarSides<P>;
  readonly #failed: NetworkRateLimit;
  /** Who waits to hear whether a code was burnt for them. */
  readonly #attempts = new Map<string, Client<P>>();

  constructor(
    hall: Hall<P>,
    admission: Admission<P>,
    codes: Codes<P>,
    sessions: Sessions<P>,
    farSides: FarSides<P>,
  ) {
    this.#hall = hall;
    this.#admission = admission;
    this.#codes = codes;
    this.#sessions = sessions;
    this.#farSides = farSides;
    this.#failed = new NetworkRateLimit(hall.limits.failedJoinsPerMinute);
  }

  get rememberedAddresses(): number {
    return this.#failed.size;
  }

  /** Whether other instances have been asked for a code, and have not answered. */
  get isAsking(): boolean {
    return this.#attempts.size > 0;
  }

  join(client: Client<P>, code: string) {
    const { nowMs, isShared } = this.#hall;
    const retryAfter = this.#failed.retryAfter(client.address, nowMs);
    if (retryAfter > 0) return this.#hall.refuse(client, 'rate_limited', retryAfter);
    if (!this.#admission.isComplete) return this.#hall.refuse(client, 'unavailable');
    // A failed one until it turns out otherwise, so that many at once are no way around the limit.
    this.#failed.add(client.address, nowMs);
    client.state = 'joining';
    if (!isShared) return this.#finish(client, code, this.#codes.find(code));
    const attempt = this.#hall.randomId();
    this.#attempts.set(attempt, client);
    this.#hall.ask({ type: 'burn', attempt, code });
  }

  burnt({ attempt, code }: Burn, answer: BurnAnswer): void {
    const client = this.#attempts.get(attempt);
    this.#attempts.delete(attempt);
    if (client !== undefined) this.#finish(client, code, answer);
  }

  sweep(): void {
    this.#failed.sweep(this.#hall.nowMs);
  }

  /** The client may have left by now, and then whoever listens hears that it came and went. */
  #finish(client: Client<P>, code: string, answer: BurnAnswer) {
    switch (answer.state) {
      case 'unavailable':
        this.#failed.takeBack(client.address);
        return this.#hall.refuse(client, 'unavailable');
      case 'unknown':
        return this.#hall.refuse(client, this.#admission.isDraining ? 'draining' : 'code_not_found');
      case 'used':
        this.#hall.refuse(client, 'code_used');
        if (answer.session === undefined) return;
        if (answer.instance === null) return this.#sessions.try(this.#sessions.get(answer.session));
        return this.#hall.tell(answer.instance, { type: 'tried', session: answer.session });
      case 'burnt':
        this.#failed.takeBack(client.address);
        if (answer.instance !== null)
          return this.#farSides.join(client, answer.session, code, answer.instance);
        return this.#joinHere(client, this.#sessions.get(answer.session));
    }
  }

  #joinHere(client: Client<P>, session: Session<P> | undefined) {
    if (session?.listener?.state !== 'listening') return this.#hall.refuse(client, 'code_not_found');
    session.joiner = client;
    client.session = session;
    this.#sessions.run(session);
    if (client.state === 'over') this.#sessions.leave(client, 'gone');
  }
}
