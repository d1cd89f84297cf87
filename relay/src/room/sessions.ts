import { Deadlines } from '../limits/deadlines';
import { FairShare, type LimitReached } from '../limits/fair-share';
import type { RelayErrorCode } from '../wire/frames';
import type { InstanceMessage } from '../wire/instance-message';
import type { Codes } from './codes';
import type { RoomContext } from './context';
import { type Client, clientsOf, otherClientOf, type Session } from './states';

/** How long another instance may take to confirm that its listener is still there. */
const CONFIRM_MS = 5_000;

/** The sessions of a room, from the listener's first code to the end, and how long each state of them may last. */
export class Sessions<S> {
  readonly #context: RoomContext<S>;
  readonly #codes: Codes<S>;
  readonly #byId = new Map<string, Session<S>>();
  readonly #waiting: Deadlines<Session<S>>;
  readonly #confirming: Deadlines<Session<S>>;
  readonly #paired: Deadlines<Session<S>>;
  /** The places of sessions whose listener is here. Other sessions only take the place of their joiner's socket. */
  readonly share: FairShare<Session<S>>;

  constructor(context: RoomContext<S>, codes: Codes<S>) {
    this.#context = context;
    this.#codes = codes;
    this.#waiting = new Deadlines(context.limits.codeMs);
    this.#confirming = new Deadlines(CONFIRM_MS);
    this.#paired = new Deadlines(context.limits.sessionMs);
    this.share = new FairShare({
      places: context.limits.sessions,
      evict: (session) => this.#refuse(session, 'capacity'),
      rankOf: ({ state }) => (state.name === 'paired' ? 2 : 1),
    });
  }

  get size(): number {
    return this.#byId.size;
  }

  get listening(): number {
    return this.#waiting.size;
  }

  get paired(): number {
    return this.#paired.size;
  }

  /** How many deadlines are running. */
  get deadlines(): number {
    return this.#waiting.size + this.#confirming.size + this.#paired.size;
  }

  get(id: string): Session<S> | undefined {
    return this.#byId.get(id);
  }

  /** A copy, so that sessions may end during the iteration. */
  all(): Session<S>[] {
    return [...this.#byId.values()];
  }

  /** Makes space for the session of one more listener. @returns the reason if there is no space */
  makeSpace(address: string): LimitReached | undefined {
    return this.share.makeSpace(address);
  }

  /** Starts a session for a listener, who has no code yet. */
  open(id: string, listener: Client<S>): Session<S> {
    const session: Session<S> = {
      id,
      code: undefined,
      listener,
      joiner: undefined,
      remote: undefined,
      state: { name: 'waiting', wasTried: false },
    };
    this.#byId.set(id, session);
    this.share.add(session, listener.address);
    listener.state = { name: 'opening', session };
    return session;
  }

  /** Notes that the session has a code, with which a client has to join in time. */
  awaitJoiner(session: Session<S>, listener: Client<S>): void {
    listener.state = { name: 'listening', session };
    this.#waiting.add(session, this.#context.nowMs);
  }

  /** Starts a session for a joiner whose listener is at another instance, which has to confirm it in time. */
  awaitConfirmation(id: string, joiner: Client<S>, instance: string): void {
    const session: Session<S> = {
      id,
      code: undefined,
      listener: undefined,
      joiner,
      remote: { instance, sent: { messages: 0, bytes: 0 } },
      state: { name: 'confirming' },
    };
    this.#byId.set(id, session);
    joiner.state = { name: 'confirming', session };
    this.#confirming.add(session, this.#context.nowMs);
  }

  /** Notes that both sides are there. */
  pair(session: Session<S>): void {
    const { id, state, listener } = session;
    session.state = { name: 'paired' };
    this.#waiting.delete(session);
    this.#confirming.delete(session);
    this.#paired.add(session, this.#context.nowMs);
    if (listener !== undefined) this.#codes.burn(session);
    for (const client of clientsOf(session)) {
      // A joiner may have left before the cluster has answered.
      if (client.state.name !== 'closed') {
        client.state = { name: 'paired', session, sent: { messages: 0, bytes: 0 } };
      }
      this.#context.send(client, { type: 'peer' });
    }
    this.#context.report({ event: 'join', session: id, outcome: 'paired' });
    if (state.name === 'waiting' && state.wasTried) this.warnListener(session);
  }

  /** Warns the listener that another client has tried the code too late, since the first one may have been a stranger. */
  warnListener(session: Session<S> | undefined): void {
    if (session?.listener === undefined) return;
    if (session.state.name === 'waiting') session.state = { name: 'waiting', wasTried: true };
    else this.#context.send(session.listener, { type: 'error', code: 'code_used' });
  }

  tellRemote({ remote }: Session<S>, message: InstanceMessage): void {
    if (remote !== undefined) this.#context.tell(remote.instance, message);
  }

  /** Ends the session because one of its clients leaves, and tells the other side. */
  leave(session: Session<S>, client: Client<S>, outcome: string): void {
    const other = otherClientOf(session, client);
    this.tellRemote(session, { type: 'gone', session: session.id });
    this.#end(session, outcome);
    if (other === undefined) return;
    this.#context.send(other, { type: 'peer_gone' });
    this.#context.close(other);
  }

  /** Handles that the remote side is gone or out of reach. @param code the error for a client that was not paired yet */
  loseRemote(session: Session<S>, code: RelayErrorCode) {
    session.remote = undefined;
    if (session.state.name !== 'paired') return this.#refuse(session, code);
    this.#end(session, 'gone');
    for (const client of clientsOf(session)) {
      this.#context.send(client, { type: 'peer_gone' });
      this.#context.close(client);
    }
  }

  /** Ends the sessions that need the cluster. Sessions with both clients here continue. */
  loseCluster(): void {
    for (const session of this.all()) {
      if (session.remote !== undefined) this.loseRemote(session, 'unavailable');
      else if (session.state.name !== 'paired') this.#refuse(session, 'unavailable');
    }
  }

  /** Ends the session for both sides, because the time of the session or of this instance is over. */
  expire(session: Session<S>, code: 'session_expired' | 'draining'): void {
    const type = code === 'session_expired' ? 'expired' : 'gone';
    this.tellRemote(session, { type, session: session.id });
    this.#end(session, code);
    for (const client of clientsOf(session)) {
      this.#context.send(client, { type: 'error', code });
      this.#context.close(client);
    }
  }

  sweep(): void {
    const { nowMs } = this.#context;
    for (const session of this.#waiting.take(nowMs)) this.#refuse(session, 'session_expired');
    for (const session of this.#confirming.take(nowMs)) this.#refuse(session, 'code_not_found');
    for (const session of this.#paired.take(nowMs)) this.expire(session, 'session_expired');
  }

  /** Refuses one client of the session, which ends it for the other side too. */
  #refuse(session: Session<S>, code: RelayErrorCode): void {
    const [client] = clientsOf(session);
    if (client !== undefined) this.#context.refuse(client, code);
  }

  /** Forgets the session. The caller closes its clients. */
  #end(session: Session<S>, outcome: string): void {
    const { id, listener, state } = session;
    this.#byId.delete(id);
    this.share.remove(session);
    this.#waiting.delete(session);
    this.#confirming.delete(session);
    this.#paired.delete(session);
    this.#codes.forget(session);
    if (listener !== undefined && state.name !== 'paired') this.#codes.retire(session);
    this.#context.report({ event: 'end', session: id, outcome });
  }
}
