/*
 * A client of the relay is in one of these states:
 *
 *   new ──listen──▶ listening ──somebody joins──▶ paired ──bye, or the other goes──▶ over
 *    ├───join, with a code that waits ──────────▶ paired
 *    ├───wait──▶ waiting ──its message comes──▶ over
 *    ├───post──▶ over
 *    └───nothing for firstMessageMs──▶ over
 *
 * Where instances share their codes, others have to be asked first, and the client is in between meanwhile:
 *
 *   new ──listen──▶ opening ──nobody else has the code──▶ listening
 *    ├───join──▶ joining ──it was burnt for us──▶ paired, or where the listener is at another instance,
 *    │                                            joining ──joined──▶ paired
 *    └───post──▶ posting ──it is stored, or taken──▶ over
 *
 * Any error leads to `over`, from everywhere, with one exception: a listener that is told `code_used`, because somebody
 * else has tried its code, stays where it is. In `over` nothing is heard any more; the client is forgotten when its
 * socket has closed. A session lasts sessionMs from the join, a code codeMs, a mailbox sessionMs.
 */
import { AddressCount, RateLimit } from './address-limits';
import { CodePool } from './code-pool';
import { Deadlines } from './deadlines';
import type {
  Burn,
  BurnAnswer,
  Claim,
  ClaimAnswer,
  Effect,
  Post,
  PostAnswer,
  RoomEvent,
  Wait,
  WaitAnswer,
} from './effects';
import type { ClientFrame, Fault, RelayErrorCode, RelayFrame } from './frames';
import type { Limits } from './limits';
import { Mailboxes } from './mailboxes';
import type { Letter, Message } from './messages';
import { type Client, clientsOf, type Meter, otherOf, type Session, type State } from './session';

export interface RoomOptions {
  readonly limits: Limits;
  /** A whole number from 100000 to 999999 out of a CSPRNG. */
  readonly randomCode: () => number;
  /** An id for logs that says nothing. */
  readonly randomId: () => string;
  /** Whether there are other instances to be asked, from {@link Room.connectOthers} on. */
  readonly isShared?: boolean;
}

/** A code that has been given out here and is not to be given out again. */
export interface RestingCode {
  readonly code: string;
  readonly restMs: number;
  readonly isBurnt: boolean;
  /** The session that it has led to, while that runs. */
  readonly session: string | undefined;
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

/** How long another instance has to say that its listener is still there. */
const JOINED_MS = 5_000;
/** How many codes are asked for, where other instances have what we have thought of. */
const MAX_CLAIMS = 16;

/**
 * The relay without its sockets: takes what clients and other instances do and what time it is, and says what is to be
 * sent to whom.
 *
 * @typeParam P whatever stands for a socket
 */
export class Room<P> {
  readonly #limits: Limits;
  readonly #randomId: () => string;
  readonly #isShared: boolean;
  readonly #codes: CodePool;
  readonly #mailboxes: Mailboxes<P>;
  readonly #clients = new Map<P, Client<P>>();
  /** By id. */
  readonly #sessions = new Map<string, Session<P>>();
  /** Those of the codes that were given out here. */
  readonly #byCode = new Map<string, Session<P>>();
  /** Who waits to hear whether a code was burnt for them. */
  readonly #attempts = new Map<string, Client<P>>();
  readonly #sockets = new AddressCount();
  readonly #listens: RateLimit;
  readonly #failedJoins: RateLimit;
  readonly #silent: Deadlines<Client<P>>;
  readonly #unused: Deadlines<Session<P>>;
  readonly #joining: Deadlines<Session<P>>;
  readonly #running: Deadlines<Session<P>>;
  #isDraining = false;
  #hasOthers = false;
  /** The time of the call that is being worked on. */
  #nowMs = 0;
  #effects: Effect<P>[] = [];

  constructor({ limits, randomCode, randomId, isShared = false }: RoomOptions) {
    this.#limits = limits;
    this.#randomId = randomId;
    this.#isShared = isShared;
    this.#codes = new CodePool(randomCode);
    this.#listens = new RateLimit(limits.listensPerMinute);
    this.#failedJoins = new RateLimit(limits.failedJoinsPerMinute);
    this.#silent = new Deadlines(limits.firstMessageMs);
    this.#unused = new Deadlines(limits.codeMs);
    this.#joining = new Deadlines(JOINED_MS);
    this.#running = new Deadlines(limits.sessionMs);
    this.#mailboxes = new Mailboxes<P>(
      {
        now: () => this.#nowMs,
        mayOpen: (client, needed) => this.#mayOpen(client, needed),
        send: (client, frame) => this.#send(client, frame),
        close: (client) => this.#close(client),
        refuse: (client, code) => this.#refuse(client, code),
        emit: (effect) => this.#effects.push(effect),
      },
      { keepMs: limits.sessionMs, isShared, randomId },
    );
  }

  /** How much of everything it holds that a stranger can make grow. */
  get counts() {
    return {
      clients: this.#clients.size,
      listening: this.#unused.size,
      paired: this.#running.size,
      boxes: this.#mailboxes.size,
      storedBytes: this.#mailboxes.storedBytes,
      deadlines:
        this.#silent.size +
        this.#unused.size +
        this.#joining.size +
        this.#running.size +
        this.#mailboxes.deadlines,
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
    client.state = 'over';
    this.#clients.delete(peer);
    this.#sockets.remove(client.address);
    return this.#takeEffects();
  }

  /** Ends what is over. Costs as much as there is to end; call it a few times a second. */
  sweep(nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    for (const client of this.#silent.take(nowMs)) this.#refuse(client, 'session_expired');
    for (const session of this.#unused.take(nowMs)) this.#refuseAll(session, 'session_expired');
    for (const session of this.#joining.take(nowMs)) this.#refuseAll(session, 'code_not_found');
    for (const session of this.#running.take(nowMs)) this.#expire(session, 'session_expired');
    this.#mailboxes.sweep(nowMs);
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

  /** The other instances can be asked from now on. */
  connectOthers(): void {
    this.#hasOthers = true;
  }

  /** The other instances can be asked no longer. What needs them ends; sessions with both sides here go on. */
  loseOthers(nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    this.#hasOthers = false;
    for (const session of [...this.#sessions.values()]) {
      if (session.far !== undefined) this.#loseFar(session, 'unavailable');
      else if (!session.isRunning) this.#refuseAll(session, 'unavailable');
    }
    this.#mailboxes.cutOff();
    return this.#takeEffects();
  }

  /** The instances that have one side of a session of ours. */
  get instances(): Set<string> {
    const instances = [...this.#sessions.values()].map(({ far }) => far?.instance);
    return new Set(instances.filter((instance) => instance !== undefined));
  }

  /** An instance shows no sign of life any more. */
  loseInstance(instance: string, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    for (const session of [...this.#sessions.values()]) {
      if (session.far?.instance !== instance) continue;
      this.#tellFar(session, { type: 'gone', session: session.id }); // it may come back to life
      this.#loseFar(session, 'code_not_found');
    }
    return this.#takeEffects();
  }

  /** All codes that were given out here and that nobody may get again yet. */
  *restingCodes(nowMs: number): Generator<RestingCode> {
    for (const resting of this.#codes.resting(nowMs)) {
      yield { ...resting, session: this.#byCode.get(resting.code)?.id };
    }
  }

  claimed({ session: id, tries }: Claim, answer: ClaimAnswer, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    const session = this.#sessions.get(id);
    if (session?.listener?.state !== 'opening') return []; // it has left meanwhile
    if (answer === 'claimed') this.#open(session);
    else if (answer === 'unavailable') this.#refuseAll(session, answer);
    else {
      this.#byCode.delete(session.code);
      this.#codes.giveBack(session.code);
      this.#claim(session, tries + 1);
    }
    return this.#takeEffects();
  }

  burnt({ attempt, code }: Burn, answer: BurnAnswer, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    const client = this.#attempts.get(attempt);
    this.#attempts.delete(attempt);
    if (client !== undefined) this.#finishJoin(client, code, answer);
    return this.#takeEffects();
  }

  posted(post: Post, answer: PostAnswer, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    this.#mailboxes.posted(post, answer);
    return this.#takeEffects();
  }

  waited(wait: Wait, answer: WaitAnswer, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    this.#mailboxes.waited(wait, answer);
    return this.#takeEffects();
  }

  /** Another instance says something. Nothing in it is believed but what this room knows to be possible. */
  hear({ from, message }: Letter, nowMs: number): Effect<P>[] {
    this.#nowMs = nowMs;
    if (message.type === 'mail') this.#mailboxes.receive(message.session, message.body);
    else {
      const session = this.#sessions.get(message.session);
      if (message.type === 'tried') this.#try(session);
      else if (message.type === 'join') this.#welcome(session, message.session, from);
      else if (session?.far?.instance === from) this.#hearOf(session, message);
      // Whoever sends it holds a session for running that does not.
      else if (message.type === 'joined' || message.type === 'msg') {
        this.#tell(from, { type: 'gone', session: message.session });
      }
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
        return this.#mailboxes.wait(client, frame.box);
      case 'post':
        return this.#mailboxes.post(client, frame.box, frame.body);
      case 'msg':
        return this.#pass(client, frame.body);
      case 'bye':
        this.#leave(client, 'bye');
        this.#close(client);
    }
  }

  #listen(client: Client<P>) {
    if (!this.#mayOpen(client)) return;
    const session: Session<P> = {
      id: this.#randomId(),
      code: '',
      listener: client,
      joiner: undefined,
      far: undefined,
      isRunning: false,
      wasTried: false,
    };
    this.#sessions.set(session.id, session);
    client.session = session;
    client.state = 'opening';
    this.#claim(session, 0);
  }

  #claim(session: Session<P>, tries: number) {
    const code = this.#codes.take(this.#nowMs, this.#limits.codeMs + this.#limits.codeRestMs);
    if (code === null || tries >= MAX_CLAIMS) return this.#refuseAll(session, 'capacity');
    session.code = code;
    this.#byCode.set(code, session);
    if (this.#isShared) this.#effects.push({ type: 'claim', session: session.id, code, tries });
    else this.#open(session);
  }

  #open(session: Session<P>): void {
    const listener = session.listener as Client<P>;
    listener.state = 'listening';
    this.#unused.add(session, this.#nowMs);
    const expiresIn = Math.floor(this.#limits.codeMs / 1000);
    this.#send(listener, { type: 'listening', code: session.code, expiresIn });
    this.#event({ event: 'listen', session: session.id, outcome: 'listening' });
  }

  #join(client: Client<P>, code: string) {
    const retryAfter = this.#failedJoins.retryAfter(client.address, this.#nowMs);
    if (retryAfter > 0) return this.#refuse(client, 'rate_limited', retryAfter);
    if (this.#isShared && !this.#hasOthers) return this.#refuse(client, 'unavailable');
    // A failed one until it turns out otherwise, so that many at once are no way around the limit.
    this.#failedJoins.add(client.address, this.#nowMs);
    client.state = 'joining';
    if (!this.#isShared) return this.#finishJoin(client, code, this.#burnHere(code));
    const attempt = this.#randomId();
    this.#attempts.set(attempt, client);
    this.#effects.push({ type: 'burn', attempt, code });
  }

  #burnHere(code: string): BurnAnswer {
    const session = this.#byCode.get(code);
    if (session === undefined) {
      return { state: this.#codes.isBurnt(code, this.#nowMs) ? 'used' : 'unknown' };
    }
    return { state: session.isRunning ? 'used' : 'burnt', instance: null, session: session.id };
  }

  /** The client may have left by now, and then whoever listens hears that it came and went. */
  #finishJoin(client: Client<P>, code: string, answer: BurnAnswer) {
    switch (answer.state) {
      case 'unavailable':
        this.#failedJoins.takeBack(client.address);
        return this.#refuse(client, 'unavailable');
      case 'unknown':
        return this.#refuse(client, this.#isDraining ? 'draining' : 'code_not_found');
      case 'used':
        this.#refuse(client, 'code_used');
        if (answer.session === undefined) return;
        if (answer.instance === null) return this.#try(this.#sessions.get(answer.session));
        return this.#tell(answer.instance, { type: 'tried', session: answer.session });
      case 'burnt':
        this.#failedJoins.takeBack(client.address);
        if (answer.instance === null) return this.#joinHere(client, this.#sessions.get(answer.session));
        return this.#joinFar(client, answer.session, code, answer.instance);
    }
  }

  #joinHere(client: Client<P>, session: Session<P> | undefined) {
    if (session?.listener?.state !== 'listening') return this.#refuse(client, 'code_not_found');
    session.joiner = client;
    client.session = session;
    this.#run(session);
    if (client.state === 'over') this.#leave(client, 'gone');
  }

  #joinFar(client: Client<P>, id: string, code: string, instance: string) {
    this.#tell(instance, { type: 'join', session: id });
    if (client.state === 'over') return this.#tell(instance, { type: 'gone', session: id });
    if (this.#sessions.has(id)) return this.#refuse(client, 'code_not_found');
    const session: Session<P> = {
      id,
      code,
      listener: undefined,
      joiner: client,
      far: { instance, messages: 0, bytes: 0 },
      isRunning: false,
      wasTried: false,
    };
    client.session = session;
    this.#sessions.set(id, session);
    this.#joining.add(session, this.#nowMs);
  }

  /** Another instance has burnt the code of this session for somebody there. */
  #welcome(session: Session<P> | undefined, id: string, from: string) {
    if (session?.far?.instance === from) return; // said twice
    if (session?.listener?.state !== 'listening') return this.#tell(from, { type: 'gone', session: id });
    session.far = { instance: from, messages: 0, bytes: 0 };
    this.#tell(from, { type: 'joined', session: id });
    this.#run(session);
  }

  #run(session: Session<P>): void {
    session.isRunning = true;
    this.#unused.delete(session);
    this.#joining.delete(session);
    this.#running.add(session, this.#nowMs);
    if (session.listener !== undefined) {
      this.#codes.burn(session.code);
      this.#codes.rest(session.code, this.#nowMs, this.#limits.codeRestMs);
    }
    for (const client of clientsOf(session)) {
      if (client.state !== 'over') client.state = 'paired';
      this.#send(client, { type: 'peer' });
    }
    this.#event({ event: 'join', session: session.id, outcome: 'paired' });
    if (session.wasTried) this.#try(session);
  }

  /** Whoever sits there may be talking to a stranger who was quicker than the person they expect. */
  #try(session: Session<P> | undefined): void {
    if (session?.listener === undefined) return;
    if (session.isRunning) this.#send(session.listener, { type: 'error', code: 'code_used' });
    else session.wasTried = true;
  }

  #pass(client: Client<P>, body: string) {
    const session = client.session as Session<P>;
    if (!this.#count(client, body)) return this.#refuse(client, 'too_large');
    const other = otherOf(session, client);
    if (other !== undefined) this.#send(other, { type: 'msg', body });
    else this.#tellFar(session, { type: 'msg', session: session.id, number: client.messages, body });
    this.#event({ event: 'message', session: session.id, outcome: 'passed' });
  }

  /** @returns whether that is still within what a side may send */
  #count(side: Meter, body: string): boolean {
    side.messages++;
    side.bytes += Buffer.byteLength(body);
    const { messagesPerDirection, bytesPerDirection } = this.#limits;
    return side.messages <= messagesPerDirection && side.bytes <= bytesPerDirection;
  }

  /** The instance of the other side says something of a session. */
  #hearOf(session: Session<P>, message: Exclude<Message, { type: 'join' | 'tried' | 'mail' }>) {
    const far = session.far as Meter;
    const [client] = clientsOf(session) as [Client<P>];
    switch (message.type) {
      case 'joined':
        if (!session.isRunning) this.#run(session);
        break;
      case 'gone':
        this.#loseFar(session, 'code_not_found');
        break;
      case 'expired':
        session.far = undefined;
        this.#expire(session, 'session_expired');
        break;
      case 'msg':
        if (!session.isRunning || message.number <= far.messages) return; // said twice
        // One that is missing will not come any more, and without it the rest is worth nothing.
        if (message.number > far.messages + 1 || !this.#count(far, message.body)) {
          this.#tellFar(session, { type: 'gone', session: session.id });
          return this.#loseFar(session, 'code_not_found');
        }
        this.#send(client, { type: 'msg', body: message.body });
        this.#event({ event: 'message', session: session.id, outcome: 'passed' });
    }
  }

  /** The other side is out of reach. @param code what a joiner hears that was not told of it yet */
  #loseFar(session: Session<P>, code: RelayErrorCode) {
    session.far = undefined;
    if (!session.isRunning) return this.#refuseAll(session, code);
    this.#endSession(session, 'gone');
    for (const client of clientsOf(session)) {
      this.#send(client, { type: 'peer_gone' });
      this.#close(client);
    }
  }

  /** Whether a client may open a code or a mailbox, which counts as an attempt; refuses it where it may not. */
  #mayOpen(client: Client<P>, needed = 1): boolean {
    const retryAfter = this.#listens.retryAfter(client.address, this.#nowMs);
    if (this.#isDraining) this.#refuse(client, 'draining');
    else if (retryAfter > 0) this.#refuse(client, 'rate_limited', retryAfter);
    else if (this.#isShared && !this.#hasOthers) this.#refuse(client, 'unavailable');
    else if (this.#byCode.size + this.#mailboxes.size + needed > this.#limits.sessions)
      this.#refuse(client, 'capacity');
    else {
      this.#listens.add(client.address, this.#nowMs);
      return true;
    }
    return false;
  }

  #refuse(client: Client<P>, code: RelayErrorCode, retryAfter?: number): void {
    if (client.state === 'over') return;
    this.#send(client, { type: 'error', code, ...(retryAfter === undefined ? {} : { retryAfter }) });
    const session = client.session?.id;
    this.#event({ event: 'refused', outcome: code, ...(session === undefined ? {} : { session }) });
    this.#leave(client, code);
    this.#close(client);
  }

  #refuseAll(session: Session<P>, code: RelayErrorCode): void {
    for (const client of clientsOf(session)) this.#refuse(client, code);
  }

  /** Takes a client out of what it is part of, and tells the other side. */
  #leave(client: Client<P>, outcome: string): void {
    this.#silent.delete(client);
    this.#mailboxes.leave(client);
    const { session } = client;
    if (session === undefined) return;
    const other = otherOf(session, client);
    this.#tellFar(session, { type: 'gone', session: session.id });
    this.#endSession(session, outcome);
    if (other === undefined) return;
    this.#send(other, { type: 'peer_gone' });
    this.#close(other);
  }

  #expire(session: Session<P>, code: RelayErrorCode): void {
    const type = code === 'session_expired' ? 'expired' : 'gone';
    this.#tellFar(session, { type, session: session.id });
    this.#endSession(session, code);
    for (const client of clientsOf(session)) {
      this.#send(client, { type: 'error', code });
      this.#close(client);
    }
  }

  #endSession(session: Session<P>, outcome: string): void {
    const { id, code, listener, joiner, isRunning } = session;
    this.#sessions.delete(id);
    this.#unused.delete(session);
    this.#joining.delete(session);
    this.#running.delete(session);
    for (const client of clientsOf(session)) client.session = undefined;
    if (this.#byCode.get(code) === session) this.#byCode.delete(code);
    if (listener !== undefined && joiner === undefined && !isRunning && code !== '') {
      this.#codes.rest(code, this.#nowMs, this.#limits.codeRestMs);
      if (this.#isShared) this.#effects.push({ type: 'rest', session: id, code });
    }
    this.#event({ event: 'end', session: id, outcome });
  }

  #tellFar({ far }: Session<P>, message: Message): void {
    if (far !== undefined) this.#tell(far.instance, message);
  }

  #tell(instance: string, message: Message): void {
    this.#effects.push({ type: 'tell', instance, message });
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
