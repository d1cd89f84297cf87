import type { Limits } from '../limits/limits';
import type { RelayErrorCode, RelayFrame } from '../wire/frames';
import type { InstanceMessage } from '../wire/instance-message';
import type { ClusterRequest, Effect, RoomEvent } from './effects';
import type { Client } from './states';

export interface ContextOptions<S> {
  readonly limits: Limits;
  /** Makes a random ID for logs. */
  readonly randomId: () => string;
  /** Whether this instance shares its codes with others. */
  readonly isClustered: boolean;
  /** Takes a client out of its session or mailbox. */
  readonly leave: (client: Client<S>, outcome: string) => void;
}

/** What all parts of a room share: the limits, the time of the current call, and the effects of that call. */
export class RoomContext<S> {
  readonly limits: Limits;
  readonly randomId: () => string;
  readonly isClustered: boolean;
  readonly #leave: ContextOptions<S>['leave'];
  #nowMs = 0;
  #effects: Effect<S>[] = [];

  constructor({ limits, randomId, isClustered, leave }: ContextOptions<S>) {
    this.limits = limits;
    this.randomId = randomId;
    this.isClustered = isClustered;
    this.#leave = leave;
  }

  /** The time of the current call. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs work at the given time. @returns the effects of the work, in their order */
  run(nowMs: number, work: () => void): Effect<S>[] {
    this.#nowMs = nowMs;
    work();
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  send(client: Client<S>, frame: RelayFrame): void {
    if (client.state.name !== 'closed') this.#effects.push({ type: 'send', to: client.socket, frame });
  }

  close(client: Client<S>): void {
    if (client.state.name === 'closed') return;
    client.state = { name: 'closed' };
    this.#effects.push({ type: 'close', to: client.socket });
  }

  /** Sends a client the reason, takes it out of its session or mailbox, and closes it. */
  refuse(client: Client<S>, code: RelayErrorCode, retryAfterSeconds?: number): void {
    const { state } = client;
    if (state.name === 'closed') return;
    const retry = retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds };
    this.send(client, { type: 'error', code, ...retry });
    const session = 'session' in state ? { session: state.session.id } : {};
    this.report({ event: 'refused', outcome: code, ...session });
    this.#leave(client, code);
    this.close(client);
  }

  /** Asks all instances. */
  ask(request: ClusterRequest): void {
    this.#effects.push(request);
  }

  /** Sends a message to one other instance. */
  tell(instance: string, message: InstanceMessage): void {
    this.#effects.push({ type: 'tell', instance, message });
  }

  /** For log and metrics. */
  report(event: RoomEvent): void {
    this.#effects.push({ type: 'event', event });
  }
}
