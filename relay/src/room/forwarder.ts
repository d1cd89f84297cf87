import type { Hall } from './context';
import { type Client, clientsOf, type Meter, otherOf, type Session } from './session';
import type { Sessions } from './sessions';

/** Passes the messages of sessions from one side to the other, and counts them. */
export class Passing<P> {
  readonly #hall: Hall<P>;
  readonly #sessions: Sessions<P>;

  constructor(hall: Hall<P>, sessions: Sessions<P>) {
    this.#hall = hall;
    this.#sessions = sessions;
  }

  /** From a client here, which is paired. */
  pass(client: Client<P>, body: string) {
    const session = client.session as Session<P>;
    if (!this.#count(client, body)) return this.#hall.refuse(client, 'too_large');
    const other = otherOf(session, client);
    if (other !== undefined) this.#hall.send(other, { type: 'msg', body });
    else this.#sessions.tellFar(session, { type: 'msg', session: session.id, number: client.messages, body });
    this.#hall.event({ event: 'message', session: session.id, outcome: 'passed' });
  }

  /** From the far side of a session. */
  receive(session: Session<P>, number: number, body: string) {
    const far = session.far as Meter;
    if (!session.isRunning || number <= far.messages) return; // said twice
    // One that is missing will not come any more, and without it the rest is worth nothing.
    if (number > far.messages + 1 || !this.#count(far, body)) {
      this.#sessions.tellFar(session, { type: 'gone', session: session.id });
      return this.#sessions.loseFar(session, 'code_not_found');
    }
    for (const client of clientsOf(session)) this.#hall.send(client, { type: 'msg', body });
    this.#hall.event({ event: 'message', session: session.id, outcome: 'passed' });
  }

  /** @returns whether that is still within what a side may send */
  #count(side: Meter, body: string): boolean {
    side.messages++;
    side.bytes += Buffer.byteLength(body);
    const { messagesPerDirection, bytesPerDirection } = this.#hall.limits;
    return side.messages <= messagesPerDirection && side.bytes <= bytesPerDirection;
  }
}
