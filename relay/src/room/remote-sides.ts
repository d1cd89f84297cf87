import type { Envelope, InstanceMessage } from '../wire/instance-message';
import type { RoomContext } from './context';
import type { Forwarder } from './forwarder';
import type { Sessions } from './sessions';
import type { Client, Session } from './states';

/** A message about a session that is paired, or about to be. */
type SessionMessage = Exclude<InstanceMessage, { type: 'join' | 'tried' | 'mail' }>;

/** Handles what other instances say about sessions that have one side here and one there. */
export class RemoteSides<S> {
  readonly #context: RoomContext<S>;
  readonly #sessions: Sessions<S>;
  readonly #forwarder: Forwarder<S>;

  constructor(context: RoomContext<S>, sessions: Sessions<S>, forwarder: Forwarder<S>) {
    this.#context = context;
    this.#sessions = sessions;
    this.#forwarder = forwarder;
  }

  /** The instances that have a side of a session of this room. */
  get instances(): Set<string> {
    const instances = this.#sessions.all().map(({ remote }) => remote?.instance);
    return new Set(instances.filter((instance) => instance !== undefined));
  }

  /** Called when the code of a listener at that instance was burnt for a client here. */
  join(client: Client<S>, id: string, instance: string) {
    this.#context.tell(instance, { type: 'join', session: id });
    if (client.state.name === 'closed') return this.#context.tell(instance, { type: 'gone', session: id });
    if (this.#sessions.get(id) !== undefined) return this.#context.refuse(client, 'code_not_found');
    this.#sessions.awaitConfirmation(id, client, instance);
  }

  /** Accepts a message only if it fits a session and the instance of its remote side. */
  receive({ from, message }: Envelope) {
    const session = this.#sessions.get(message.session);
    if (message.type === 'mail') return;
    if (message.type === 'tried') return this.#sessions.warnListener(session);
    if (message.type === 'join') return this.#accept(session, message.session, from);
    if (session?.remote?.instance === from) return this.#handle(session, message);
    // For the sender, the session is paired; here it is not.
    if (message.type === 'joined' || message.type === 'msg') {
      this.#context.tell(from, { type: 'gone', session: message.session });
    }
  }

  /** Called when the heartbeat of an instance has stopped. */
  loseInstance(instance: string): void {
    for (const session of this.#sessions.all()) {
      if (session.remote?.instance !== instance) continue;
      this.#sessions.tellRemote(session, { type: 'gone', session: session.id }); // the instance may come back
      this.#sessions.loseRemote(session, 'code_not_found');
    }
  }

  /** Handles that another instance has burnt the code of this session for a client there. */
  #accept(session: Session<S> | undefined, id: string, from: string) {
    if (session?.remote?.instance === from) return; // a duplicate
    if (session?.listener?.state.name !== 'listening') {
      return this.#context.tell(from, { type: 'gone', session: id });
    }
    session.remote = { instance: from, sent: { messages: 0, bytes: 0 } };
    this.#context.tell(from, { type: 'joined', session: id });
    this.#sessions.pair(session);
  }

  #handle(session: Session<S>, message: SessionMessage): void {
    switch (message.type) {
      case 'joined':
        if (session.state.name !== 'paired') this.#sessions.pair(session);
        break;
      case 'gone':
        this.#sessions.loseRemote(session, 'code_not_found');
        break;
      case 'expired':
        session.remote = undefined;
        this.#sessions.expire(session, 'session_expired');
        break;
      case 'msg':
        this.#forwarder.receive(session, message.number, message.body);
    }
  }
}
