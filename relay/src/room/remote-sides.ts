import type { Letter, Message } from '../wire/instance-message';
import type { Hall } from './context';
import type { Passing } from './forwarder';
import type { Client, Session } from './session';
import type { Sessions } from './sessions';

/** What other instances say of sessions that have a side here and a side there. */
export class FarSides<P> {
  readonly #hall: Hall<P>;
  readonly #sessions: Sessions<P>;
  readonly #passing: Passing<P>;

  constructor(hall: Hall<P>, sessions: Sessions<P>, passing: Passing<P>) {
    this.#hall = hall;
    this.#sessions = sessions;
    this.#passing = passing;
  }

  /** The instances at which they are. */
  get instances(): Set<string> {
    const instances = this.#sessions.all().map(({ far }) => far?.instance);
    return new Set(instances.filter((instance) => instance !== undefined));
  }

  /** The code of a listener there was burnt for a client here. */
  join(client: Client<P>, id: string, code: string, instance: string) {
    this.#hall.tell(instance, { type: 'join', session: id });
    if (client.state === 'over') return this.#hall.tell(instance, { type: 'gone', session: id });
    if (this.#sessions.get(id) !== undefined) return this.#hall.refuse(client, 'code_not_found');
    const far = { instance, messages: 0, bytes: 0 };
    this.#sessions.awaitJoined(this.#sessions.begin(id, { code, joiner: client, far }));
  }

  /** Nothing is believed but what this room knows to be possible. */
  hear({ from, message }: Letter): void {
    const session = this.#sessions.get(message.session);
    if (message.type === 'tried') this.#sessions.try(session);
    else if (message.type === 'join') this.#welcome(session, message.session, from);
    else if (session?.far?.instance === from) this.#hearOf(session, message);
    // Whoever sends it holds a session for running that does not.
    else if (message.type === 'joined' || message.type === 'msg') {
      this.#hall.tell(from, { type: 'gone', session: message.session });
    }
  }

  /** An instance shows no sign of life any more. */
  lose(instance: string): void {
    for (const session of this.#sessions.all()) {
      if (session.far?.instance !== instance) continue;
      this.#sessions.tellFar(session, { type: 'gone', session: session.id }); // it may come back to life
      this.#sessions.loseFar(session, 'code_not_found');
    }
  }

  /** Another instance has burnt the code of this session for somebody there. */
  #welcome(session: Session<P> | undefined, id: string, from: string) {
    if (session?.far?.instance === from) return; // said twice
    if (session?.listener?.state !== 'listening') return this.#hall.tell(from, { type: 'gone', session: id });
    session.far = { instance: from, messages: 0, bytes: 0 };
    this.#hall.tell(from, { type: 'joined', session: id });
    this.#sessions.run(session);
  }

  /** The instance of the other side says something of a session. */
  #hearOf(session: Session<P>, message: Exclude<Message, { type: 'join' | 'tried' }>): void {
    switch (message.type) {
      case 'joined':
        if (!session.isRunning) this.#sessions.run(session);
        break;
      case 'gone':
        this.#sessions.loseFar(session, 'code_not_found');
        break;
      case 'expired':
        session.far = undefined;
        this.#sessions.expire(session, 'session_expired');
        break;
      case 'msg':
        this.#passing.receive(session, message.number, message.body);
    }
  }
}
