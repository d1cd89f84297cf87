import { PairingError, type PairingFailure } from './failure';

/** The next state, and what the caller must do, in this order. */
export type Step<State, Action> = readonly [next: State, actions: readonly Action[]];

/** The two final states. They ignore all events. */
export type Ended = { readonly name: 'paired' } | { readonly name: 'failed' };

export interface Rules<State, Event, Action> {
  /** @throws PairingError if the event ends the ceremony */
  readonly step: (state: State, event: Event) => Promise<Step<State, Action>>;
  /** The action for a failure in a state. */
  readonly fail: (state: State, failure: PairingFailure) => Action;
  /** The state after a failure. */
  readonly failed: State;
}

/** Holds the state of one side. It handles events one at a time, in order. */
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
   * Handles one event.
   *
   * @returns what the caller must do; nothing after the end of the ceremony
   * @throws what the signer throws, but nothing because of a peer's message
   */
  handle(event: Event): Promise<readonly Action[]> {
    const step = this.#lastStep.then(() => this.#take(event));
    this.#lastStep = step.catch(() => {}); // the step's caller gets its error; the next step is independent
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
