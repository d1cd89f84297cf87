import type { RoomContext } from './context';
import type { Sessions } from './sessions';
import {
  type Client,
  clientsOf,
  otherClientOf,
  type PairedState,
  type Session,
  type Traffic,
} from './states';

/** Forwards the messages of a session from one side to the other, and limits how many there may be. */
export class Forwarder<S> {
  readonly #context: RoomContext<S>;
  readonly #sessions: Sessions<S>;

  constructor(context: RoomContext<S>, sessions: Sessions<S>) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** Forwards a message of a client here. */
  forward(client: Client<S>, { session, sent }: PairedState<S>, body: string) {
    if (!this.#count(sent, body)) return this.#context.refuse(client, 'too_large');
    const { id } = session;
    const other = otherClientOf(session, client);
    if (other !== undefined) this.#context.send(other, { type: 'msg', body });
    else this.#sessions.tellRemote(session, { type: 'msg', session: id, number: sent.messages, body });
    this.#context.report({ event: 'message', session: id, outcome: 'passed' });
  }

  /** Forwards a message of the remote side. */
  receive(session: Session<S>, number: number, body: string) {
    const { id, remote, state } = session;
    if (remote === undefined || state.name !== 'paired') return;
    const { sent } = remote;
    if (number <= sent.messages) return; // a duplicate
    // A missing message will not arrive any more, and the peers cannot use the rest.
    if (number > sent.messages + 1 || !this.#count(sent, body)) {
      this.#sessions.tellRemote(session, { type: 'gone', session: id });
      return this.#sessions.loseRemote(session, 'code_not_found');
    }
    for (const client of clientsOf(session)) this.#context.send(client, { type: 'msg', body });
    this.#context.report({ event: 'message', session: id, outcome: 'passed' });
  }

  /** @returns whether the side may send this message, too */
  #count(sent: Traffic, body: string): boolean {
    sent.messages++;
    sent.bytes += Buffer.byteLength(body);
    const { messagesPerDirection, bytesPerDirection } = this.#context.limits;
    return sent.messages <= messagesPerDirection && sent.bytes <= bytesPerDirection;
  }
}
