import { NetworkRateLimit } from '../limits/rate-limit';
import type { Admission } from './admission';
import type { Codes } from './codes';
import type { RoomContext } from './context';
import type { Burn, BurnAnswer } from './effects';
import type { RemoteSides } from './remote-sides';
import type { Sessions } from './sessions';
import type { Client, Session } from './states';

/** The parts of a room that a join goes through. */
export interface JoinHandlerParts<S> {
  readonly admission: Admission<S>;
  readonly codes: Codes<S>;
  readonly sessions: Sessions<S>;
  readonly remoteSides: RemoteSides<S>;
}

/** Handles `join`: pairs the client with the listener of its code, and limits how many wrong codes an address may try. */
export class JoinHandler<S> {
  readonly #context: RoomContext<S>;
  readonly #parts: JoinHandlerParts<S>;
  readonly #failed: NetworkRateLimit;
  /** The clients whose code the cluster is looking up, by the ID of the attempt. */
  readonly #attempts = new Map<string, Client<S>>();

  constructor(context: RoomContext<S>, parts: JoinHandlerParts<S>) {
    this.#context = context;
    this.#parts = parts;
    this.#failed = new NetworkRateLimit(context.limits.failedJoinsPerMinute);
  }

  get rememberedAddresses(): number {
    return this.#failed.size;
  }

  /** Whether the cluster still has to answer for a code. */
  get isAsking(): boolean {
    return this.#attempts.size > 0;
  }

  join(client: Client<S>, code: string) {
    const { nowMs, isClustered } = this.#context;
    const retryAfterSeconds = this.#failed.retryAfterSeconds(client.address, nowMs);
    if (retryAfterSeconds > 0) return this.#context.refuse(client, 'rate_limited', retryAfterSeconds);
    if (!this.#parts.admission.isAvailable) return this.#context.refuse(client, 'unavailable');
    // A join counts as failed until it succeeds, so that many concurrent joins cannot exceed the limit.
    this.#failed.add(client.address, nowMs);
    client.state = { name: 'joining' };
    if (!isClustered) return this.#finish(client, this.#parts.codes.find(code));
    const attempt = this.#context.randomId();
    this.#attempts.set(attempt, client);
    this.#context.ask({ type: 'burn', attempt, code });
  }

  /** Called when the cluster has answered a `Burn` request. */
  burnt({ attempt }: Burn, answer: BurnAnswer): void {
    const client = this.#attempts.get(attempt);
    this.#attempts.delete(attempt);
    if (client !== undefined) this.#finish(client, answer);
  }

  sweep(): void {
    this.#failed.sweep(this.#context.nowMs);
  }

  /** The client may have left by now. Then the listener learns that a peer came and went. */
  #finish(client: Client<S>, answer: BurnAnswer) {
    const { admission, sessions, remoteSides } = this.#parts;
    switch (answer.state) {
      case 'unavailable':
        this.#failed.takeBack(client.address);
        return this.#context.refuse(client, 'unavailable');
      case 'unknown':
        return this.#context.refuse(client, admission.isDraining ? 'draining' : 'code_not_found');
      case 'used':
        this.#context.refuse(client, 'code_used');
        if (answer.session === undefined) return;
        if (answer.instance === null) return sessions.warnListener(sessions.get(answer.session));
        return this.#context.tell(answer.instance, { type: 'tried', session: answer.session });
      case 'burnt':
        this.#failed.takeBack(client.address);
        if (answer.instance === null) return this.#joinHere(client, sessions.get(answer.session));
        return remoteSides.join(client, answer.session, answer.instance);
    }
  }

  #joinHere(client: Client<S>, session: Session<S> | undefined) {
    if (session?.listener?.state.name !== 'listening') return this.#context.refuse(client, 'code_not_found');
    session.joiner = client;
    this.#parts.sessions.pair(session);
    if (client.state.name === 'closed') this.#parts.sessions.leave(session, client, 'gone');
  }
}
