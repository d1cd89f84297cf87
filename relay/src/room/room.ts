import type { ShareUsage } from '../limits/fair-share';
import type { Limits } from '../limits/limits';
import type { ClientFrame, FrameFault } from '../wire/frames';
import type { Envelope } from '../wire/instance-message';
import { Admission } from './admission';
import { Clients } from './clients';
import { Codes, type RestingCode } from './codes';
import { RoomContext } from './context';
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
import { Forwarder } from './forwarder';
import { JoinHandler } from './join-handler';
import { ListenHandler } from './listen-handler';
import { Mailboxes } from './mailboxes';
import { RemoteSides } from './remote-sides';
import { Sessions } from './sessions';
import type { Client } from './states';

export interface RoomOptions {
  readonly limits: Limits;
  /** Makes a whole number from 100000 to 999999, from a CSPRNG. */
  readonly randomCode: () => number;
  /** Makes a random ID for logs. */
  readonly randomId: () => string;
  /** Whether this instance shares its codes with others, from {@link Room.connectCluster} on. Default: false. */
  readonly isClustered?: boolean;
}

/**
 * The relay without its sockets. Its methods take an event of a client or of another instance, and the current time, and return
 * what to send to whom. The states of a client are listed in states.ts.
 *
 * @typeParam S the type of a socket
 */
export class Room<S> {
  readonly #context: RoomContext<S>;
  readonly #admission: Admission<S>;
  readonly #clients: Clients<S>;
  readonly #codes: Codes<S>;
  readonly #sessions: Sessions<S>;
  readonly #forwarder: Forwarder<S>;
  readonly #remoteSides: RemoteSides<S>;
  readonly #listenHandler: ListenHandler<S>;
  readonly #joinHandler: JoinHandler<S>;
  readonly #mailboxes: Mailboxes<S>;

  constructor({ limits, randomCode, randomId, isClustered = false }: RoomOptions) {
    const leave = (client: Client<S>, outcome: string) => this.#leave(client, outcome);
    const context = new RoomContext<S>({ limits, randomId, isClustered, leave });
    const admission = new Admission(context);
    const codes = new Codes(context, randomCode);
    const sessions = new Sessions(context, codes);
    const forwarder = new Forwarder(context, sessions);
    const remoteSides = new RemoteSides(context, sessions, forwarder);
    this.#context = context;
    this.#admission = admission;
    this.#clients = new Clients(context);
    this.#codes = codes;
    this.#sessions = sessions;
    this.#forwarder = forwarder;
    this.#remoteSides = remoteSides;
    this.#listenHandler = new ListenHandler(context, admission, codes, sessions);
    this.#joinHandler = new JoinHandler(context, { admission, codes, sessions, remoteSides });
    this.#mailboxes = new Mailboxes(context, admission);
  }

  /** The number of each thing that strangers can increase. */
  get counts() {
    return {
      clients: this.#clients.size,
      listening: this.#sessions.listening,
      paired: this.#sessions.paired,
      mailboxes: this.#mailboxes.size,
      storedBytes: this.#mailboxes.share.bytes,
      deadlines: this.#clients.deadlines + this.#sessions.deadlines + this.#mailboxes.deadlines,
      addresses: this.#clients.addresses,
      rememberedAddresses: this.#admission.rememberedAddresses + this.#joinHandler.rememberedAddresses,
    };
  }

  /** How full the shares are from which strangers take places. */
  get shares(): Readonly<Record<'sockets' | 'sessions' | 'mailboxes', ShareUsage>> {
    return {
      sockets: this.#clients.share,
      sessions: this.#sessions.share,
      mailboxes: this.#mailboxes.share,
    };
  }

  get isDraining(): boolean {
    return this.#admission.isDraining;
  }

  /** Whether a shutdown should wait for something. */
  get isBusy(): boolean {
    return this.#sessions.size > 0 || this.#joinHandler.isAsking || this.#mailboxes.isPosting;
  }

  /** The instances that have a side of a session of this room. */
  get instances(): Set<string> {
    return this.#remoteSides.instances;
  }

  /** All codes of this instance that must not be issued again yet. */
  restingCodes(nowMs: number): Generator<RestingCode> {
    return this.#codes.resting(nowMs);
  }

  /**
   * Call this when a socket has opened. {@link disconnect} has to follow for every socket, even for one that is refused here.
   *
   * @param address what limits count by, as `toLimitKey` gives it
   */
  connect(socket: S, address: string, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#clients.connect(socket, address));
  }

  /** Call this when a client has sent a frame, or a frame that cannot be read. */
  receive(socket: S, frame: ClientFrame | FrameFault, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      const client = this.#clients.get(socket);
      if (client === undefined || client.state.name === 'closed') return;
      this.#clients.endSilence(client);
      if ('fault' in frame) this.#context.refuse(client, frame.fault);
      else this.#handle(client, frame);
    });
  }

  /** Call this when a socket has closed, from either end. */
  disconnect(socket: S, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      const client = this.#clients.get(socket);
      if (client === undefined) return;
      this.#leave(client, 'gone');
      client.state = { name: 'closed' };
      this.#clients.remove(client);
    });
  }

  /** Ends everything past its deadline. It only costs time for what is due; call it a few times a second. */
  sweep(nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      this.#clients.sweep();
      this.#sessions.sweep();
      this.#mailboxes.sweep();
      this.#admission.sweep();
      this.#joinHandler.sweep();
    });
  }

  /** Stops admitting new clients. Issued codes can still be joined, and sessions continue. */
  drain(): Effect<S>[] {
    return this.#context.run(this.#context.nowMs, () => {
      this.#admission.drain();
      for (const client of this.#clients.all()) {
        const { name } = client.state;
        if (name === 'new' || name === 'waiting') this.#context.refuse(client, 'draining');
      }
    });
  }

  /** Ends everything, as the last step of a shutdown. */
  close(nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      this.#admission.drain();
      for (const client of this.#clients.all()) {
        const { state } = client;
        if ('session' in state) this.#sessions.expire(state.session, 'draining');
        else this.#context.refuse(client, 'draining');
      }
    });
  }

  /** Call this when the other instances can be asked. */
  connectCluster(): void {
    this.#admission.connectCluster();
  }

  /**
   * Call this when the other instances are out of reach. Everything that needs them ends; sessions with both clients here continue.
   */
  loseCluster(nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      this.#admission.loseCluster();
      this.#sessions.loseCluster();
      this.#mailboxes.loseCluster();
    });
  }

  /** Call this when the heartbeat of another instance has stopped. */
  loseInstance(instance: string, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#remoteSides.loseInstance(instance));
  }

  // Call these when the cluster has answered a request, which was an effect of an earlier call.

  claimed(claim: Claim, answer: ClaimAnswer, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#listenHandler.claimed(claim, answer));
  }

  burnt(burn: Burn, answer: BurnAnswer, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#joinHandler.burnt(burn, answer));
  }

  posted(post: Post, answer: PostAnswer, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#mailboxes.posted(post, answer));
  }

  waited(wait: Wait, answer: WaitAnswer, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => this.#mailboxes.waited(wait, answer));
  }

  /** Call this when another instance has sent a message. */
  receiveFromInstance(envelope: Envelope, nowMs: number): Effect<S>[] {
    return this.#context.run(nowMs, () => {
      const { message } = envelope;
      if (message.type === 'mail') this.#mailboxes.receive(message.session, message.body);
      else this.#remoteSides.receive(envelope);
    });
  }

  #handle(client: Client<S>, frame: ClientFrame): void {
    const { state } = client;
    if (frame.type === 'bye') {
      this.#leave(client, 'bye');
      this.#context.close(client);
    } else if (frame.type === 'msg') {
      if (state.name === 'paired') this.#forwarder.forward(client, state, frame.body);
      else this.#context.refuse(client, 'bad_message');
    } else if (state.name === 'new') {
      this.#open(client, frame);
    } else {
      this.#context.refuse(client, 'bad_message');
    }
  }

  /** Handles the first frame of a client. */
  #open(client: Client<S>, frame: Exclude<ClientFrame, { type: 'bye' | 'msg' }>) {
    switch (frame.type) {
      case 'listen':
        return this.#listenHandler.listen(client);
      case 'join':
        return this.#joinHandler.join(client, frame.code);
      case 'wait':
        return this.#mailboxes.wait(client, frame.box);
      case 'post':
        return this.#mailboxes.post(client, frame.box, frame.body);
    }
  }

  /** Takes a client out of its session or mailbox, and tells the other side. */
  #leave(client: Client<S>, outcome: string): void {
    const { state } = client;
    this.#clients.endSilence(client);
    if (state.name === 'waiting') this.#mailboxes.leave(state.mailbox);
    else if ('session' in state) this.#sessions.leave(state.session, client, outcome);
  }
}
