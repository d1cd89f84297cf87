/*
 * A client of the relay is in one of these states:
 *
 *   new ──listen──▶ listening ──somebody joins──▶ paired ──bye, or the other goes──▶ over
 *    ├───join, with a code that waits ──────────▶ paired
 *    ├───wait──▶ waiting ──its message comes──▶ over
 *    ├───post──▶ over
 *    └───nothing for firstMessageMs──▶ over
 *
 * Any error leads to `over`, from everywhere, with one exception: a listener that is told `code_used`, because somebody
 * else has tried its code, stays where it is. In `over` nothing is heard any more; the client is forgotten when its
 * socket has closed. A session lasts sessionMs from the join, a code codeMs, a mailbox sessionMs.
 */
import { AddressCount, RateLimit } from './address-limits';
import { CodePool } from './code-pool';
import { Deadlines } from './deadlines';
import type { ClientFrame, Fault, RelayErrorCode, RelayFrame } from './frames';
import type { Limits } from './limits';

type State = 'new' | 'listening' | 'paired' | 'waiting' | 'over';

/** What the room wants to be done, in this order. */
export type Effect<P> =
  | { readonly type: 'send'; readonly to: P; readonly frame: RelayFrame }
  /** After all that was sent to it. */
  | { readonly type: 'close'; readonly to: P }
  | { readonly type: 'event'; readonly event: RoomEvent };

/** For log and metrics. Names nobody: `session` is random. */
export interface RoomEvent {
  readonly event: 'listen' | 'join' | 'message' | 'end' | 'post' | 'wait' | 'refused';
  readonly session?: string;
  readonly outcome: string;
}

export interface RoomOptions {
  readonly limits: Limits;
  /** A whole number from 100000 to 999999 out of a CSPRNG. */
  readonly randomCode: () => number;
  /** An id for logs that says nothing. */
  readonly randomId: () => string;
}

interface Client<P> {
  readonly peer: P;
  readonly address: string;
  state: State;
  session: Session<P> | undefined;
  box: Box<P> | undefined;
  messages: number;
  bytes: number;
}

interface Session<P> {
  readonly id: string;
  readonly code: string;
  readonly listener: Client<P>;
  joiner: Client<P> | undefined;
}

/** A mailbox: somebody waits at it, or a message lies in it, or its one message has been there. */
interface Box<P> {
  readonly id: string;
  readonly name: string;
  waiter: Client<P> | undefined;
  body: string | undefined;
}

/** In which state each frame may come; null: in any. */
const STATE_FOR: Readonly<Record<ClientFrame['type'], State | null>> = {
  listen: 'new',
  join: 'new',
  wait: 'new',
  post: 'new',
  msg: 'paired',
  bye: null,
};

/** All bodies that lie in mailboxes, in bytes. */
const MAX_STORED_BYTES = 16 * 1024 * 1024;

/**
 * The relay without its sockets: takes what clients do and what time it is, and says what is to be sent to whom.
 *
 * @typeParam P whatever stands for a socket
 */
export class Room<P> {
  readonly #limits: Limits;
  readonly #randomId: () => string;
  readonly #codes: CodePool;
  readonly #clients = new Map<P, Client<P>>();
  readonly #sessions = new Map<string, Session<P>>();
  readonly #boxes = new Map<string, Box<P>>();
  readonly #sockets = new AddressCount();
  readonly #listens: RateLimit;
  readonly #failedJoins: RateLimit;
  readonly #silent: Deadlines<Client<P>>;
  readonly #unused: Deadlines<Session<P>>;
  readonly #running: Deadlines<Session<P>>;
  readonly #boxesDue: Deadlines<Box<P>>;
  #storedBytes = 0;
  #isDraining = false;
  /** The time of the call that is being worked on. */
  #nowMs = 0;
  #effects: Effect<P>[] = [];

  constructor({ limits, randomCode, randomId }: RoomOptions) {
    this.#limits = limits;
    this.#randomId = randomId;
    this.#codes = new CodePool(randomCode);
    this.#listens = new RateLimit(limits.listensPerMinute);
    this.#failedJoins = new RateLimit(limits.failedJoinsPerMinute);
    this.#silent = new Deadlines(limits.firstMessageMs);
    this.#unused = new Deadlines(limits.codeMs);
    this.#running = new Deadlines(limits.sessionMs);
    this.#boxesDue = new Deadlines(limits.sessionMs);
  }

  /** How much of everything it holds that a stranger can make grow. */
  get counts() {
    return {
      clients: this.#clients.size,
      listening: this.#unused.size,
      paired: this.#running.size,
      boxes: this.#boxes.size,
      storedBytes: this.#storedBytes,
      deadlines: this.#silent.size + this.#unused.size + this.#running.size + this.#boxesDue.size,
      addresses: this.#sockets.size,
      rememberedAddresses: this.#listens.size + this.#failedJoins.size,
    };
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Whether a client is at something that a shutdown should let end. */
  get isBusy(): boolean {
    return this.#sessions.size > 0;
  }

  /**
   * A socket has opened. One that may not stay is told so, and has to be reported by {@link disconnect} like all others.
   *
   * @param address what limits count by, as `toLimitKey` gives it
   */
  connect(peer: P, address: string, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    const client: Client<P> = {
      peer,
      address,
      state: 'new',
      session: undefined,
      box: undefined,
      messages: 0,
      bytes: 0,
    };
    const isFull = this.#clients.size >= this.#limits.sockets;
    const hasTooMany = this.#sockets.of(address) >= this.#limits.socketsPerAddress;
    this.#clients.set(peer, client);
    this.#sockets.add(address);
    if (isFull) this.#refuse(client, 'capacity');
    else if (hasTooMany) this.#refuse(client, 'rate_limited', 60);
    else this.#silent.add(client, nowMs);
    return this.#takeEffects();
  }

  /** A client has said something; a {@link Fault} where it could not be read. */
  receive(peer: P, frame: ClientFrame | Fault, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    const client = this.#clients.get(peer);
    if (client === undefined || client.state === 'over') return [];
    this.#silent.delete(client);
    if ('fault' in frame) this.#refuse(client, frame.fault);
    else this.#take(client, frame);
    return this.#takeEffects();
  }

  /** A socket has closed, whoever closed it. */
  disconnect(peer: P, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    const client = this.#clients.get(peer);
    if (client === undefined) return [];
    this.#leave(client, 'gone');
    this.#clients.delete(peer);
    this.#sockets.remove(client.address);
    return this.#takeEffects();
  }

  /** Ends what is over. Costs as much as there is to end; call it a few times a second. */
  sweep(nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    for (const client of this.#silent.take(nowMs)) this.#refuse(client, 'session_expired');
    for (const { listener } of this.#unused.take(nowMs)) this.#refuse(listener, 'session_expired');
    for (const session of this.#running.take(nowMs)) this.#expire(session, 'session_expired');
    for (const box of this.#boxesDue.take(nowMs)) {
      if (box.waiter !== undefined) this.#refuse(box.waiter, 'session_expired');
      this.#removeBox(box);
    }
    this.#listens.sweep(nowMs);
    this.#failedJoins.sweep(nowMs);
    return this.#takeEffects();
  }

  /** Takes nobody new from now on. Codes that are out may still be joined, and sessions go on. */
  drain(): Effect<P>[] {
    this.#isDraining = true;
    for (const client of this.#clients.values()) {
      if (client.state === 'new' || client.state === 'waiting') this.#refuse(client, 'draining');
    }
    return this.#takeEffects();
  }

  /** Ends everything, as the last step of a shutdown. */
  shut(nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    this.#isDraining = true;
    for (const client of this.#clients.values()) {
      if (client.session !== undefined) this.#expire(client.session, 'draining');
      else if (client.state !== 'over') this.#refuse(client, 'draining');
    }
    return this.#takeEffects();
  }

  #take(client: Client<P>, frame: ClientFrame) {
    const needed = STATE_FOR[frame.type];
    if (needed !== null && client.state !== needed) return this.#refuse(client, 'bad_message');
    switch (frame.type) {
      case 'listen':
        return this.#listen(client);
      case 'join':
        return this.#join(client, frame.code);
      case 'wait':
        return this.#wait(client, frame.box);
      case 'post':
        return this.#post(client, frame.box, frame.body);
      case 'msg':
        return this.#pass(client, frame.body);
      case 'bye':
        this.#leave(client, 'bye');
        this.#close(client);
    }
  }

  #listen(client: Client<P>) {
    if (!this.#mayOpen(client)) return;
    const { codeMs, codeRestMs } = this.#limits;
    const code = this.#codes.take(this.#nowMs, codeMs + codeRestMs);
    if (code === null) return this.#refuse(client, 'capacity');
    const session: Session<P> = { id: this.#randomId(), code, listener: client, joiner: undefined };
    client.state = 'listening';
    client.session = session;
    this.#sessions.set(code, session);
    this.#unused.add(session, this.#nowMs);
    this.#send(client, { type: 'listening', code, expiresIn: Math.floor(codeMs / 1000) });
    this.#event({ event: 'listen', session: session.id, outcome: 'listening' });
  }

  #join(client: Client<P>, code: string) {
    const retryAfter = this.#failedJoins.retryAfter(client.address, this.#nowMs);
    if (retryAfter > 0) return this.#refuse(client, 'rate_limited', retryAfter);
    const session = this.#sessions.get(code);
    if (session === undefined || session.joiner !== undefined) {
      this.#failedJoins.add(client.address, this.#nowMs);
      if (session === undefined && !this.#codes.isBurnt(code, this.#nowMs)) {
        return this.#refuse(client, this.#isDraining ? 'draining' : 'code_not_found');
      }
      this.#refuse(client, 'code_used');
      // Whoever sits there may be talking to a stranger who was quicker than the person they expect.
      if (session !== undefined) this.#send(session.listener, { type: 'error', code: 'code_used' });
      return;
    }
    this.#codes.burn(code);
    this.#codes.rest(code, this.#nowMs, this.#limits.codeRestMs);
    this.#unused.delete(session);
    this.#running.add(session, this.#nowMs);
    session.joiner = client;
    client.session = session;
    client.state = 'paired';
    session.listener.state = 'paired';
    this.#send(session.listener, { type: 'peer' });
    this.#send(client, { type: 'peer' });
    this.#event({ event: 'join', session: session.id, outcome: 'paired' });
  }

  #pass(client: Client<P>, body: string) {
    const session = client.session as Session<P>;
    client.messages++;
    client.bytes += Buffer.byteLength(body);
    const { messagesPerDirection, bytesPerDirection } = this.#limits;
    if (client.messages > messagesPerDirection || client.bytes > bytesPerDirection) {
      return this.#refuse(client, 'too_large');
    }
    this.#send(otherOf(session, client), { type: 'msg', body });
    this.#event({ event: 'message', session: session.id, outcome: 'passed' });
  }

  #wait(client: Client<P>, name: string) {
    const box = this.#boxes.get(name);
    if (box !== undefined && box.body === undefined) return this.#refuse(client, 'code_used');
    if (!this.#mayOpen(client, box === undefined ? 1 : 0)) return;
    if (box?.body !== undefined) return this.#deliver(box, client, box.body);
    const opened = this.#openBox(name);
    opened.waiter = client;
    client.state = 'waiting';
    client.box = opened;
    this.#event({ event: 'wait', session: opened.id, outcome: 'waiting' });
  }

  #post(client: Client<P>, name: string, body: string) {
    const box = this.#boxes.get(name);
    if (box !== undefined && box.waiter === undefined) return this.#refuse(client, 'code_used');
    if (!this.#mayOpen(client, box === undefined ? 1 : 0)) return;
    if (box?.waiter !== undefined) this.#deliver(box, box.waiter, body);
    else {
      const bytes = Buffer.byteLength(body);
      if (this.#storedBytes + bytes > MAX_STORED_BYTES) return this.#refuse(client, 'capacity');
      const opened = this.#openBox(name);
      opened.body = body;
      this.#storedBytes += bytes;
      this.#event({ event: 'post', session: opened.id, outcome: 'stored' });
    }
    this.#close(client);
  }

  #openBox(name: string): Box<P> {
    const box: Box<P> = { id: this.#randomId(), name, waiter: undefined, body: undefined };
    this.#boxes.set(name, box);
    this.#boxesDue.add(box, this.#nowMs);
    return box;
  }

  /** The box itself stays until its time is over, so that it never takes a second message. */
  #deliver(box: Box<P>, waiter: Client<P>, body: string): void {
    this.#emptyBox(box);
    waiter.box = undefined;
    this.#send(waiter, { type: 'msg', body });
    this.#close(waiter);
    this.#event({ event: 'post', session: box.id, outcome: 'delivered' });
  }

  #emptyBox(box: Box<P>): void {
    if (box.body !== undefined) this.#storedBytes -= Buffer.byteLength(box.body);
    box.body = undefined;
    box.waiter = undefined;
  }

  #removeBox(box: Box<P>): void {
    this.#emptyBox(box);
    this.#boxes.delete(box.name);
    this.#boxesDue.delete(box);
  }

  /** Whether a client may open a code or a mailbox, which counts as an attempt; refuses it where it may not. */
  #mayOpen(client: Client<P>, needed = 1): boolean {
    const retryAfter = this.#listens.retryAfter(client.address, this.#nowMs);
    if (this.#isDraining) this.#refuse(client, 'draining');
    else if (retryAfter > 0) this.#refuse(client, 'rate_limited', retryAfter);
    else if (this.#sessions.size + this.#boxes.size + needed > this.#limits.sessions)
      this.#refuse(client, 'capacity');
    else {
      this.#listens.add(client.address, this.#nowMs);
      return true;
    }
    return false;
  }

  #refuse(client: Client<P>, code: RelayErrorCode, retryAfter?: number): void {
    this.#send(client, { type: 'error', code, ...(retryAfter === undefined ? {} : { retryAfter }) });
    const session = client.session?.id;
    this.#event({ event: 'refused', outcome: code, ...(session === undefined ? {} : { session }) });
    this.#leave(client, code);
    this.#close(client);
  }

  /** Takes a client out of what it is part of, and tells the other side. */
  #leave(client: Client<P>, outcome: string): void {
    this.#silent.delete(client);
    if (client.box !== undefined) this.#removeBox(client.box);
    client.box = undefined;
    const { session } = client;
    if (session === undefined) return;
    this.#endSession(session, outcome);
    if (session.joiner === undefined) return;
    const other = otherOf(session, client);
    this.#send(other, { type: 'peer_gone' });
    this.#close(other);
  }

  #expire(session: Session<P>, code: RelayErrorCode): void {
    this.#endSession(session, code);
    for (const client of [session.listener, session.joiner]) {
      if (client === undefined) continue;
      this.#send(client, { type: 'error', code });
      this.#close(client);
    }
  }

  #endSession(session: Session<P>, outcome: string): void {
    this.#sessions.delete(session.code);
    this.#unused.delete(session);
    this.#running.delete(session);
    session.listener.session = undefined;
    if (session.joiner !== undefined) session.joiner.session = undefined;
    else this.#codes.rest(session.code, this.#nowMs, this.#limits.codeRestMs);
    this.#event({ event: 'end', session: session.id, outcome });
  }

  #send(client: Client<P>, frame: RelayFrame): void {
    if (client.state !== 'over') this.#effects.push({ type: 'send', to: client.peer, frame });
  }

  #close(client: Client<P>): void {
    if (client.state === 'over') return;
    client.state = 'over';
    this.#silent.delete(client);
    this.#effects.push({ type: 'close', to: client.peer });
  }

  #event(event: RoomEvent): void {
    this.#effects.push({ type: 'event', event });
  }

  #takeEffects(): Effect<P>[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

function otherOf<P>(session: Session<P>, client: Client<P>): Client<P> {
  return session.listener === client ? (session.joiner as Client<P>) : session.listener;
}
