import type { Admission } from './admission';
import type { Codes } from './codes';
import type { RoomContext } from './context';
import type { Claim, ClaimAnswer } from './effects';
import type { Sessions } from './sessions';
import type { Client, Session } from './states';

/** How many codes are tried, if other instances have issued the first ones. */
const MAX_CLAIMS = 16;

/** Handles `listen`: gives the client a code that no other client has. */
export class ListenHandler<S> {
  readonly #context: RoomContext<S>;
  readonly #admission: Admission<S>;
  readonly #codes: Codes<S>;
  readonly #sessions: Sessions<S>;

  constructor(context: RoomContext<S>, admission: Admission<S>, codes: Codes<S>, sessions: Sessions<S>) {
    this.#context = context;
    this.#admission = admission;
    this.#codes = codes;
    this.#sessions = sessions;
  }

  listen(client: Client<S>): void {
    if (!this.#admission.admit(client, () => this.#sessions.makeSpace(client.address))) return;
    this.#claim(client, this.#sessions.open(this.#context.randomId(), client), 0);
  }

  /** Called when the cluster has answered a `Claim` request. */
  claimed({ session: id, code, tries }: Claim, answer: ClaimAnswer) {
    const session = this.#sessions.get(id);
    const listener = session?.listener;
    if (session === undefined || listener?.state.name !== 'opening') return; // it has left in the meantime
    if (answer === 'claimed') return this.#open(listener, session, code);
    if (answer === 'unavailable') return this.#context.refuse(listener, answer);
    this.#codes.giveBack(session);
    this.#claim(listener, session, tries + 1);
  }

  #claim(listener: Client<S>, session: Session<S>, tries: number): void {
    const code = tries < MAX_CLAIMS ? this.#codes.allocate(session) : null;
    if (code === null) this.#context.refuse(listener, 'capacity');
    else if (!this.#context.isClustered) this.#open(listener, session, code);
    else this.#context.ask({ type: 'claim', session: session.id, code, tries });
  }

  #open(listener: Client<S>, session: Session<S>, code: string): void {
    this.#sessions.awaitJoiner(session, listener);
    const expiresIn = Math.floor(this.#context.limits.codeMs / 1000);
    this.#context.send(listener, { type: 'listening', code, expiresIn });
    this.#context.report({ event: 'listen', session: session.id, outcome: 'listening' });
  }
}
