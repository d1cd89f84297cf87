import { PairingError, type PairingFailure } from './failure';

/** The state that follows an event, and what the caller has to do, in this order. */
export type Step<State, Action> = readonly [next: State, actions: readonly Action[]];

/** The two ends that both sides have. Nothing more is taken in either. */
export type Ended = { readonly name: 'paired' } | { readonly name: 'failed' };

export interface Rules<State, Event, Action> {
  /** @throws PairingError where the event ends the ceremony */
  readonly step: (state: State, event: Event) => Promise<Step<State, Action>>;
  /** The action that says so of a failure in a state. */
  readonly fail: (state: State, failure: PairingFailure) => Action;
  /** The state after a failure. */
  readonly failed: State;
}

/** Holds the state of one side. It takes one event after the other, in the order in which they come. */
export class StateMachine<State extends { readonly name: string }, Event, Action> {
  #state: State;
  readonly #rules: Rules<State, Event, Action>;
  #lastStep: Promise<unknown> = Promise.resolve();

  constructor(initial: State, rules: Rules<State, Event, Action>) {
    this.#state = initial;
    this.#rules = rules;
  }

  get state(): State['name'] {
    return this.#state.name;
  }

  /**
   * Takes one event.
   *
   * @returns what the caller has to do; nothing once the ceremony is over
   * @throws whatever the signer throws, and never for what a peer sends
   */
  handle(event: Event): Promise<readonly Action[]> {
    const step = this.#lastStep.then(() => this.#take(event));
    this.#lastStep = step.catch(() => {}); // the caller of that step gets its error, and the next step starts afresh
    return step;
  }

  async #take(event: Event): Promise<readonly Action[]> {
    const before = this.#state;
    try {
      const [next, actions] = await this.#rules.step(before, event);
      this.#state = next;
      return actions;
    } catch (error) {
      this.#state = this.#rules.failed;
      if (error instanceof PairingError) return [this.#rules.fail(before, error.failure)];
      throw error;
    }
  }
}
