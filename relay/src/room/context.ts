import type { Limits } from '../limits/limits';
import type { RelayErrorCode, RelayFrame } from '../wire/frames';
import type { Message } from '../wire/instance-message';
import type { Effect, Question, RoomEvent } from './effects';
import type { Client } from './session';

export interface HallOptions<P> {
  readonly limits: Limits;
  /** An id for logs that says nothing. */
  readonly randomId: () => string;
  /** Whether there are other instances to be asked. */
  readonly isShared: boolean;
  /** Takes a client out of what it is part of. */
  readonly leave: (client: Client<P>, outcome: string) => void;
}

/** What all parts of a room stand in: its limits, the time, and what is to be done by whoever has the sockets. */
export class Hall<P> {
  readonly limits: Limits;
  readonly randomId: () => string;
  readonly isShared: boolean;
  readonly #leave: HallOptions<P>['leave'];
  #nowMs = 0;
  #effects: Effect<P>[] = [];

  constructor({ limits, randomId, isShared, leave }: HallOptions<P>) {
    this.limits = limits;
    this.randomId = randomId;
    this.isShared = isShared;
    this.#leave = leave;
  }

  /** The time of the call that is being worked on. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Lets something happen at this time, and gives what is to be done for it. */
  at(nowMs: number, happen: () => void): Effect<P>[] {
    this.#nowMs = nowMs;
    happen();
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  send(client: Client<P>, frame: RelayFrame): void {
    if (client.state !== 'over') this.#effects.push({ type: 'send', to: client.peer, frame });
  }

  close(client: Client<P>): void {
    if (client.state === 'over') return;
    client.state = 'over';
    this.#effects.push({ type: 'close', to: client.peer });
  }

  /** Tells a client why it has to go, and whoever it was with that it is gone. */
  refuse(client: Client<P>, code: RelayErrorCode, retryAfter?: number): void {
    if (client.state === 'over') return;
    this.send(client, { type: 'error', code, ...(retryAfter === undefined ? {} : { retryAfter }) });
    const session = client.session?.id;
    this.event({ event: 'refused', outcome: code, ...(session === undefined ? {} : { session }) });
    this.#leave(client, code);
    this.close(client);
  }

  ask(question: Question): void {
    this.#effects.push(question);
  }

  tell(instance: string, message: Message): void {
    this.#effects.push({ type: 'tell', instance, message });
  }

  event(event: RoomEvent): void {
    this.#effects.push({ type: 'event', event });
  }
}
