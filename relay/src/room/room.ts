import { AddressCount } from '../limits/address-count';
import { Deadlines } from '../limits/deadlines';
import { Share, type Shared } from '../limits/fair-share';
import type { Limits } from '../limits/limits';
import type { ClientFrame, Fault } from '../wire/frames';
import type { Letter } from '../wire/instance-message';
import { Admission } from './admission';
import { Codes, type RestingCode } from './codes';
import { Hall } from './context';
import type {
  Burn,
  BurnAnswer,
  Claim,
  ClaimAnswer,
  Effect,
  Post,
  PostAnswer,
  Wait,
  WaitAnswer,
} from './effects';
import { Passing } from './forwarder';
import { Joining } from './join-handler';
import { Listening } from './listen-handler';
import { Mailboxes } from './mailboxes';
import { FarSides } from './remote-sides';
import type { Client } from './session';
import { Sessions } from './sessions';
import { STATE_FOR } from './states';

export interface RoomOptions {
  readonly limits: Limits;
  /** A whole number from 100000 to 999999 out of a CSPRNG. */
  readonly randomCode: () => number;
  /** An id for logs that says nothing. */
  readonly randomId: () => string;
  /** Whether there are other instances to be asked, from {@link Room.connectOthers} on. */
  readonly isShared?: boolean;
}

/**
 * The relay without its sockets: takes what clients and other instances do and what time it is, and says what is to be
 * sent to whom. The states of a client are in states.ts.
 *
 * @typeParam P whatever stands for a socket
 */
export class Room<P> {
  readonly #limits: Limits;
  readonly #clients = new Map<P, Client<P>>();
  readonly #addresses = new AddressCount();
  /** The places of clients that may stay. */
  readonly #sockets: Share<Client<P>>;
  /** Those that have said nothing yet. */
  readonly #silent: Deadlines<Client<P>>;
  readonly #hall: Hall<P>;
  readonly #admission: Admission<P>;
  readonly #codes: Codes<P>;
  readonly #sessions: Sessions<P>;
  readonly #listening: Listening<P>;
  readonly #joining: Joining<P>;
  readonly #passing: Passing<P>;
  readonly #farSides: FarSides<P>;
  readonly #mailboxes: Mailboxes<P>;

  constructor({ limits, randomCode, randomId, isShared = false }: RoomOptions) {
    this.#limits = limits;
    this.#silent = new Deadlines(limits.firstMessageMs);
    const leave = (client: Client<P>, outcome: string) => this.#leave(client, outcome);
    const hall = new Hall<P>({ limits, randomId, isShared, leave });
    const admission = new Admission(hall);
    const codes = new Codes(hall, randomCode);
    const sessions = new Sessions(hall, codes);
    const passing = new Passing(hall, sessions);
    const farSides = new FarSides(hall, sessions, passing);
    this.#sockets = new Share({
      places: limits.sockets,
      evict: (client) => hall.refuse(client, 'capacity'),
      rankOf: ({ state }) => (state === 'over' ? 0 : state === 'paired' ? 2 : 1),
    });
    this.#hall = hall;
    this.#admission = admission;
    this.#codes = codes;
    this.#sessions = sessions;
    this.#listening = new Listening(hall, admission, codes, sessions);
    this.#joining = new Joining(hall, admission, codes, sessions, farSides);
    this.#passing = passing;
    this.#farSides = farSides;
    this.#mailboxes = new Mailboxes(hall, admission);
  }

  /** How much of everything it holds that a stranger can make grow. */
  get counts() {
    return {
      clients: this.#clients.size,
      listening: this.#sessions.listening,
      paired: this.#sessions.paired,
      boxes: this.#mailboxes.size,
      storedBytes: this.#mailboxes.share.bytes,
      deadlines: this.#silent.size + this.#sessions.deadlines + this.#mailboxes.deadlines,
      addresses: this.#addresses.size,
      rememberedAddresses: this.#admission.rememberedAddresses + this.#joining.rememberedAddresses,
    };
  }

  /** What strangers have places of here. */
  get shares(): Readonly<Record<'sockets' | 'sessions' | 'mailboxes', Shared>> {
    return { sockets: this.#sockets, sessions: this.#sessions.share, mailboxes: this.#mailboxes.share };
  }

  get isDraining(): boolean {
    return this.#admission.isDraining;
  }

  /** Whether a client is at something that a shutdown should let end. */
  get isBusy(): boolean {
    return this.#sessions.size > 0 || this.#joining.isAsking || this.#mailboxes.isPosting;
  }

  /** The instances that have one side of a session of ours. */
  get instances(): Set<string> {
    return this.#farSides.instances;
  }

  /** All codes that were given out here and that nobody may get again yet. */
  restingCodes(nowMs: number): Generator<RestingCode> {
    return this.#codes.resting(nowMs);
  }

  /**
   * A socket has opened. One that may not stay is told so, and has to be reported by {@link disconnect} like all others.
   *
   * @param address what limits count by, as `toLimitKey` gives it
   */
  connect(peer: P, address: string, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      const nothing = { session: undefined, box: undefined, messages: 0, bytes: 0 };
      const client: Client<P> = { peer, address, state: 'new', ...nothing };
      const hasTooMany = this.#addresses.of(address) >= this.#limits.socketsPerAddress;
      this.#clients.set(peer, client);
      this.#addresses.add(address);
      if (hasTooMany) return this.#hall.refuse(client, 'rate_limited', 60);
      const full = this.#sockets.makeRoom(address);
      if (full !== undefined) return this.#hall.refuse(client, full);
      this.#sockets.add(client, address);
      this.#silent.add(client, nowMs);
    });
  }

  /** A client has said something; a {@link Fault} where it could not be read. */
  receive(peer: P, frame: ClientFrame | Fault, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      const client = this.#clients.get(peer);
      if (client === undefined || client.state === 'over') return;
      this.#silent.delete(client);
      if ('fault' in frame) this.#hall.refuse(client, frame.fault);
      else this.#take(client, frame);
    });
  }

  /** A socket has closed, whoever closed it. */
  disconnect(peer: P, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      const client = this.#clients.get(peer);
      if (client === undefined) return;
      this.#leave(client, 'gone');
      client.state = 'over';
      this.#clients.delete(peer);
      this.#sockets.remove(client);
      this.#addresses.remove(client.address);
    });
  }

  /** Ends what is over. Costs as much as there is to end; call it a few times a second. */
  sweep(nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      for (const client of this.#silent.take(nowMs)) this.#hall.refuse(client, 'session_expired');
      this.#sessions.sweep();
      this.#mailboxes.sweep();
      this.#admission.sweep();
      this.#joining.sweep();
    });
  }

  /** Takes nobody new from now on. Codes that are out may still be joined, and sessions go on. */
  drain(): Effect<P>[] {
    return this.#hall.at(this.#hall.nowMs, () => {
      this.#admission.isDraining = true;
      for (const client of this.#clients.values()) {
        if (client.state === 'new' || client.state === 'waiting') this.#hall.refuse(client, 'draining');
      }
    });
  }

  /** Ends everything, as the last step of a shutdown. */
  shut(nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      this.#admission.isDraining = true;
      for (const client of this.#clients.values()) {
        if (client.session !== undefined) this.#sessions.expire(client.session, 'draining');
        else this.#hall.refuse(client, 'draining');
      }
    });
  }

  /** The other instances can be asked from now on. */
  connectOthers(): void {
    this.#admission.hasOthers = true;
  }

  /** The other instances can be asked no longer. What needs them ends; sessions with both sides here go on. */
  loseOthers(nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      this.#admission.hasOthers = false;
      this.#sessions.cutOff();
      this.#mailboxes.cutOff();
    });
  }

  /** An instance shows no sign of life any more. */
  loseInstance(instance: string, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => this.#farSides.lose(instance));
  }

  claimed(claim: Claim, answer: ClaimAnswer, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => this.#listening.claimed(claim, answer));
  }

  burnt(burn: Burn, answer: BurnAnswer, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => this.#joining.burnt(burn, answer));
  }

  posted(post: Post, answer: PostAnswer, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => this.#mailboxes.posted(post, answer));
  }

  waited(wait: Wait, answer: WaitAnswer, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => this.#mailboxes.waited(wait, answer));
  }

  /** Another instance says something. */
  hear({ from, message }: Letter, nowMs: number): Effect<P>[] {
    return this.#hall.at(nowMs, () => {
      if (message.type === 'mail') this.#mailboxes.receive(message.session, message.body);
      else this.#farSides.hear({ from, message });
    });
  }

  #take(client: Client<P>, frame: ClientFrame) {
    const needed = STATE_FOR[frame.type];
    if (needed !== null && client.state !== needed) return this.#hall.refuse(client, 'bad_message');
    switch (frame.type) {
      case 'listen':
        return this.#listening.listen(client);
      case 'join':
        return this.#joining.join(client, frame.code);
      case 'wait':
        return this.#mailboxes.wait(client, frame.box);
      case 'post':
        return this.#mailboxes.post(client, frame.box, frame.body);
      case 'msg':
        return this.#passing.pass(client, frame.body);
      case 'bye':
        this.#leave(client, 'bye');
        this.#hall.close(client);
    }
  }

  /** Takes a client out of what it is part of, and tells the other side. */
  #leave(client: Client<P>, outcome: string): void {
    this.#silent.delete(client);
    this.#mailboxes.leave(client);
    this.#sessions.leave(client, outcome);
  }
}
