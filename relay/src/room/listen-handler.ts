import type { Admission } from './admission';
import type { Codes } from './codes';
import type { Hall } from './context';
import type { Claim, ClaimAnswer } from './effects';
import type { Client, Session } from './session';
import type { Sessions } from './sessions';

/** How many codes are asked for, where other instances have what we have thought of. */
const MAX_CLAIMS = 16;

/** Gives whoever listens a code that nobody else has. */
export class Listening<P> {
  readonly #hall: Hall<P>;
  readonly #admission: Admission<P>;
  readonly #codes: Codes<P>;
  readonly #sessions: Sessions<P>;

  constructor(hall: Hall<P>, admission: Admission<P>, codes: Codes<P>, sessions: Sessions<P>) {
    this.#hall = hall;
    this.#admission = admission;
    this.#codes = codes;
    this.#sessions = sessions;
  }

  listen(client: Client<P>): void {
    if (!this.#admission.mayOpen(client, () => this.#sessions.makeRoom(client.address))) return;
    const session = this.#sessions.begin(this.#hall.randomId(), { listener: client });
    client.state = 'opening';
    this.#claim(client, session, 0);
  }

  claimed({ session: id, tries }: Claim, answer: ClaimAnswer): void {
    const session = this.#sessions.get(id);
    const listener = session?.listener;
    if (session === undefined || listener?.state !== 'opening') return; // it has left meanwhile
    if (answer === 'claimed') this.#open(listener, session);
    else if (answer === 'unavailable') this.#hall.refuse(listener, answer);
    else {
      this.#codes.giveBack(session);
      this.#claim(listener, session, tries + 1);
    }
  }

  #claim(listener: Client<P>, session: Session<P>, tries: number): void {
    if (tries >= MAX_CLAIMS || !this.#codes.take(session)) this.#hall.refuse(listener, 'capacity');
    else if (!this.#hall.isShared) this.#open(listener, session);
    else this.#hall.ask({ type: 'claim', session: session.id, code: session.code, tries });
  }

  #open(listener: Client<P>, session: Session<P>): void {
    listener.state = 'listening';
    this.#sessions.awaitJoin(session);
    const expiresIn = Math.floor(this.#hall.limits.codeMs / 1000);
    this.#hall.send(listener, { type: 'listening', code: session.code, expiresIn });
    this.#hall.event({ event: 'listen', session: session.id, outcome: 'listening' });
  }
}
