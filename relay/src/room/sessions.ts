import { Deadlines } from '../limits/deadlines';
import { Share } from '../limits/fair-share';
import type { RelayErrorCode } from '../wire/frames';
import type { Message } from '../wire/instance-message';
import type { Codes } from './codes';
import type { Hall } from './context';
import { type Client, clientsOf, otherOf, type Session } from './session';

/** How long another instance has to say that its listener is still there. */
const JOINED_MS = 5_000;

/** The sessions of a room, from the code that waits to the end, and how long each may take. */
export class Sessions<P> {
  readonly #hall: Hall<P>;
  readonly #codes: Codes<P>;
  readonly #byId = new Map<string, Session<P>>();
  readonly #unused: Deadlines<Session<P>>;
  readonly #joining: Deadlines<Session<P>>;
  readonly #running: Deadlines<Session<P>>;
  /** The places of those whose listener is here. The others have a socket each, and nothing else. */
  readonly share: Share<Session<P>>;

  constructor(hall: Hall<P>, codes: Codes<P>) {
    this.#hall = hall;
    this.#codes = codes;
    this.#unused = new Deadlines(hall.limits.codeMs);
    this.#joining = new Deadlines(JOINED_MS);
    this.#running = new Deadlines(hall.limits.sessionMs);
    this.share = new Share({
      places: hall.limits.sessions,
      evict: (session) => this.#refuse(session, 'capacity'),
      rankOf: ({ isRunning }) => (isRunning ? 2 : 1),
    });
  }

  get size(): number {
    return this.#byId.size;
  }

  get listening(): number {
    return this.#unused.size;
  }

  get paired(): number {
    return this.#running.size;
  }

  get deadlines(): number {
    return this.#unused.size + this.#joining.size + this.#running.size;
  }

  get(id: string): Session<P> | undefined {
    return this.#byId.get(id);
  }

  /** All of them now, whatever becomes of them meanwhile. */
  all(): Session<P>[] {
    return [...this.#byId.values()];
  }

  begin(id: string, sides: Partial<Pick<Session<P>, 'code' | 'listener' | 'joiner' | 'far'>>): Session<P> {
    const { code = '', listener, joiner, far } = sides;
    const session = { id, code, listener, joiner, far, isRunning: false, wasTried: false };
    this.#byId.set(id, session);
    if (listener !== undefined) this.share.add(session, listener.address);
    for (const client of clientsOf(session)) client.session = session;
    return session;
  }

  /** @returns why there is none for a listener of this address */
  makeRoom(address: string): 'capacity' | 'rate_limited' | undefined {
    return this.share.makeRoom(address);
  }

  /** Its code is out, and has to be used in time. */
  awaitJoin(session: Session<P>): void {
    this.#unused.add(session, this.#hall.nowMs);
  }

  /** Another instance has been told that its code was burnt, and has to answer. */
  awaitJoined(session: Session<P>): void {
    this.#joining.add(session, this.#hall.nowMs);
  }

  /** Both sides are there. */
  run(session: Session<P>): void {
    session.isRunning = true;
    this.#unused.delete(session);
    this.#joining.delete(session);
    this.#running.add(session, this.#hall.nowMs);
    if (session.listener !== undefined) this.#codes.burn(session);
    for (const client of clientsOf(session)) {
      if (client.state !== 'over') client.state = 'paired';
      this.#hall.send(client, { type: 'peer' });
    }
    this.#hall.event({ event: 'join', session: session.id, outcome: 'paired' });
    if (session.wasTried) this.try(session);
  }

  /** Somebody else has come for its code: whoever listens may be talking to a stranger who was quicker. */
  try(session: Session<P> | undefined): void {
    if (session?.listener === undefined) return;
    if (session.isRunning) this.#hall.send(session.listener, { type: 'error', code: 'code_used' });
    else session.wasTried = true;
  }

  tellFar({ far }: Session<P>, message: Message): void {
    if (far !== undefined) this.#hall.tell(far.instance, message);
  }

  /** One side goes, and the other one hears of it. */
  leave(client: Client<P>, outcome: string): void {
    const { session } = client;
    if (session === undefined) return;
    const other = otherOf(session, client);
    this.tellFar(session, { type: 'gone', session: session.id });
    this.#end(session, outcome);
    if (other === undefined) return;
    this.#hall.send(other, { type: 'peer_gone' });
    this.#hall.close(other);
  }

  /** The far side is out of reach. @param code what a joiner hears that was not told of it yet */
  loseFar(session: Session<P>, code: RelayErrorCode) {
    session.far = undefined;
    if (!session.isRunning) return this.#refuse(session, code);
    this.#end(session, 'gone');
    for (const client of clientsOf(session)) {
      this.#hall.send(client, { type: 'peer_gone' });
      this.#hall.close(client);
    }
  }

  /** The other instances cannot be asked any more. Those with both sides here go on. */
  cutOff(): void {
    for (const session of this.all()) {
      if (session.far !== undefined) this.loseFar(session, 'unavailable');
      else if (!session.isRunning) this.#refuse(session, 'unavailable');
    }
  }

  /** Ends for both sides alike. */
  expire(session: Session<P>, code: 'session_expired' | 'draining'): void {
    const type = code === 'session_expired' ? 'expired' : 'gone';
    this.tellFar(session, { type, session: session.id });
    this.#end(session, code);
    for (const client of clientsOf(session)) {
      this.#hall.send(client, { type: 'error', code });
      this.#hall.close(client);
    }
  }

  sweep(): void {
    const { nowMs } = this.#hall;
    for (const session of this.#unused.take(nowMs)) this.#refuse(session, 'session_expired');
    for (const session of this.#joining.take(nowMs)) this.#refuse(session, 'code_not_found');
    for (const session of this.#running.take(nowMs)) this.expire(session, 'session_expired');
  }

  /** The other side, where there is one, hears that this one has gone. */
  #refuse(session: Session<P>, code: RelayErrorCode): void {
    const [client] = clientsOf(session);
    if (client !== undefined) this.#hall.refuse(client, code);
  }

  #end(session: Session<P>, outcome: string): void {
    const { id, listener, isRunning } = session;
    this.#byId.delete(id);
    this.share.remove(session);
    this.#unused.delete(session);
    this.#joining.delete(session);
    this.#running.delete(session);
    for (const client of clientsOf(session)) client.session = undefined;
    this.#codes.forget(session);
    if (listener !== undefined && !isRunning) this.#codes.giveUp(session);
    this.#hall.event({ event: 'end', session: id, outcome });
  }
}
