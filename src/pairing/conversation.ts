import type { AmeshError } from '../core/errors/amesh-error';
import { type PairingFailure, toPairingError } from './ceremony/failure';
import type { RelaySession } from './relay/session';

interface Typed {
  readonly type: string;
}

interface Message extends Typed {
  readonly type: 'message';
  readonly body: string;
}

interface Send extends Typed {
  readonly type: 'send';
  readonly body: string;
}

interface Fail extends Typed {
  readonly type: 'fail';
  readonly failure: PairingFailure;
}

interface Machine<Event, Action> {
  handle(event: Event | Message): Promise<readonly Action[]>;
}

/** Connects one side of the ceremony to its session: sends its messages, and passes on the peer's. */
export class Conversation<Event, Action extends Typed> {
  readonly #session: RelaySession;
  readonly #machine: Machine<Event, Action>;
  readonly #peer: 'controller' | 'target';

  /** @param peer the role of the other machine, for errors */
  constructor(session: RelaySession, machine: Machine<Event, Action>, peer: 'controller' | 'target') {
    this.#session = session;
    this.#machine = machine;
    this.#peer = peer;
  }

  /**
   * Handles an event of this side.
   *
   * @returns the remaining actions
   * @throws AmeshError if the ceremony failed
   */
  async take(event: Event | Message): Promise<readonly Action[]> {
    const rest: Action[] = [];
    for (const action of await this.#machine.handle(event)) {
      if (isA<Send>(action, 'send')) this.#session.send(action.body);
      else if (isA<Fail>(action, 'fail')) throw toPairingError(action.failure, this.#peer);
      else rest.push(action);
    }
    return rest;
  }

  /**
   * Handles messages of the peer until one causes an action of a type.
   *
   * @param ms the time limit for each message
   * @throws AmeshError if the ceremony failed; like `session.receive()`
   */
  async until<Type extends Action['type']>(
    type: Type,
    ms: number,
  ): Promise<Extract<Action, { readonly type: Type }>> {
    for (;;) {
      const actions = await this.take({ type: 'message', body: await this.#session.receive(ms) });
      for (const action of actions) if (isOf(action, type)) return action;
    }
  }

  /**
   * Ends the ceremony with a refusal of this side, and tells the peer.
   *
   * @param why the error to throw
   */
  async decline(event: Event, why: AmeshError): Promise<never> {
    for (const action of await this.#machine.handle(event))
      if (isA<Send>(action, 'send')) this.#session.send(action.body);
    throw why;
  }
}

function isA<Known extends Typed>(action: Typed, type: Known['type']): action is Known {
  return action.type === type;
}

function isOf<Action extends Typed, Type extends string>(
  action: Action,
  type: Type,
): action is Extract<Action, { readonly type: Type }> {
  return action.type === type;
}
