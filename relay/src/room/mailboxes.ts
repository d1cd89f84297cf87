import { Deadlines } from '../limits/deadlines';
import { FairShare } from '../limits/fair-share';
import type { Admission } from './admission';
import type { RoomContext } from './context';
import type { Post, PostAnswer, Wait, WaitAnswer } from './effects';
import type { Client, Mailbox, MailboxState } from './states';

/** The order in which the mailboxes of one address are evicted: used ones first, those with a waiting client last. */
const EVICTION_RANK: Readonly<Record<MailboxState<unknown>['name'], number>> = {
  used: 0,
  full: 1,
  awaited: 2,
};

/** The mailboxes of a room. Each takes one message for one client. */
export class Mailboxes<S> {
  readonly #context: RoomContext<S>;
  readonly #admission: Admission<S>;
  /** In a cluster, only Redis knows the state of a name, and a mailbox here is one client's use of that name. */
  readonly #isClustered: boolean;
  /** By name; in a cluster by ID. */
  readonly #mailboxes = new Map<string, Mailbox<S>>();
  readonly #deadlines: Deadlines<Mailbox<S>>;
  /** The clients whose message the cluster has not taken yet, by the ID of the mailbox. */
  readonly #posting = new Map<string, Client<S>>();
  /** The places of the mailboxes, and the bytes of the messages in them. */
  readonly share: FairShare<Mailbox<S>>;

  constructor(context: RoomContext<S>, admission: Admission<S>) {
    const { mailboxes, mailboxBytes, mailboxesPerAddress, mailboxBytesPerAddress } = context.limits;
    this.#context = context;
    this.#admission = admission;
    this.#isClustered = context.isClustered;
    this.#deadlines = new Deadlines(context.limits.sessionMs);
    this.share = new FairShare({
      places: mailboxes,
      bytes: mailboxBytes,
      placesPerAddress: mailboxesPerAddress,
      bytesPerAddress: mailboxBytesPerAddress,
      evict: (mailbox) => this.#evict(mailbox),
      rankOf: ({ state }) => EVICTION_RANK[state.name],
      isIdle: ({ state }) => state.name !== 'awaited',
    });
  }

  get size(): number {
    return this.#mailboxes.size;
  }

  get deadlines(): number {
    return this.#deadlines.size;
  }

  /** Whether the cluster still has to take a message. */
  get isPosting(): boolean {
    return this.#posting.size > 0;
  }

  wait(client: Client<S>, name: string) {
    const known = this.#find(name);
    const makeSpace = () => (known === undefined ? this.share.makeSpace(client.address) : undefined);
    if (!this.#admission.admit(client, makeSpace)) return;
    if (known?.state.name === 'full') return this.#deliver(known, client, known.state.body);
    if (known !== undefined) return this.#context.refuse(client, 'code_used');
    const mailbox = this.#open(name, client.address, { name: 'awaited', client });
    client.state = { name: 'waiting', mailbox };
    if (this.#isClustered) this.#context.ask({ type: 'wait', session: mailbox.id, box: name });
    else this.#context.report({ event: 'wait', session: mailbox.id, outcome: 'waiting' });
  }

  /** Called when the cluster has answered a `Wait` request. */
  waited({ session }: Wait, answer: WaitAnswer): void {
    const mailbox = this.#mailboxes.get(session);
    if (mailbox?.state.name !== 'awaited') return;
    const { client } = mailbox.state;
    if (answer === 'waiting') this.#context.report({ event: 'wait', session, outcome: answer });
    else if (answer === 'used') this.#context.refuse(client, 'code_used');
    else if (answer === 'unavailable') this.#context.refuse(client, answer);
    else this.#deliver(mailbox, client, answer.body);
  }

  post(client: Client<S>, name: string, body: string) {
    const known = this.#find(name);
    const bytes = Buffer.byteLength(body);
    const makeSpace = () => (known === undefined ? this.share.makeSpace(client.address, bytes) : undefined);
    if (!this.#admission.admit(client, makeSpace)) return;
    if (known?.state.name === 'awaited') {
      this.#deliver(known, known.state.client, body);
      return this.#context.close(client);
    }
    if (known !== undefined) return this.#context.refuse(client, 'code_used');
    const { id } = this.#open(name, client.address, { name: 'full', body });
    if (!this.#isClustered) {
      this.#context.report({ event: 'post', session: id, outcome: 'stored' });
      return this.#context.close(client);
    }
    client.state = { name: 'posting' };
    this.#posting.set(id, client);
    this.#context.ask({ type: 'post', session: id, box: name, body });
  }

  /** Called when the cluster has answered a `Post` request. */
  posted({ session }: Post, answer: PostAnswer): void {
    const client = this.#posting.get(session);
    const mailbox = this.#mailboxes.get(session);
    this.#posting.delete(session);
    // A message in Redis keeps its place here until its time is over, and so does a used mailbox.
    if (mailbox !== undefined && answer === 'delivered') this.#empty(mailbox);
    else if (mailbox !== undefined && answer !== 'stored') this.#remove(mailbox);
    if (answer === 'stored' || answer === 'delivered') {
      this.#context.report({ event: 'post', session, outcome: answer });
      if (client !== undefined) this.#context.close(client);
    } else if (client !== undefined) {
      this.#context.refuse(client, answer === 'used' ? 'code_used' : answer);
    }
  }

  /** Delivers a message, which another instance has accepted, to a client that waits here. */
  receive(session: string, body: string): void {
    const mailbox = this.#mailboxes.get(session);
    if (mailbox?.state.name === 'awaited') this.#deliver(mailbox, mailbox.state.client, body);
  }

  /** Called when the client that waits at this mailbox leaves. */
  leave(mailbox: Mailbox<S>): void {
    this.#remove(mailbox);
    if (this.#isClustered) this.#context.ask({ type: 'leave', session: mailbox.id, box: mailbox.name });
  }

  /** Refuses the clients that wait: without the cluster, no message could reach them. */
  loseCluster(): void {
    for (const { state } of [...this.#mailboxes.values()]) {
      if (state.name === 'awaited') this.#context.refuse(state.client, 'unavailable');
    }
  }

  sweep(): void {
    for (const mailbox of this.#deadlines.take(this.#context.nowMs)) {
      if (mailbox.state.name === 'awaited') this.#context.refuse(mailbox.state.client, 'session_expired');
      else this.#remove(mailbox);
    }
  }

  /** The mailbox of this name; undefined in a cluster, where Redis has to be asked. */
  #find(name: string): Mailbox<S> | undefined {
    return this.#isClustered ? undefined : this.#mailboxes.get(name);
  }

  #open(name: string, address: string, state: MailboxState<S>): Mailbox<S> {
    const mailbox: Mailbox<S> = { id: this.#context.randomId(), name, state };
    this.#mailboxes.set(this.#keyOf(mailbox), mailbox);
    this.share.add(mailbox, address, state.name === 'full' ? Buffer.byteLength(state.body) : 0);
    this.#deadlines.add(mailbox, this.#context.nowMs);
    return mailbox;
  }

  #deliver(mailbox: Mailbox<S>, client: Client<S>, body: string): void {
    // Without a cluster, the mailbox stays until its time is over, so that it never takes a second message.
    if (this.#isClustered) this.#remove(mailbox);
    else this.#empty(mailbox);
    this.#context.send(client, { type: 'msg', body });
    this.#context.close(client);
    // In a cluster, the instance of the sender reports the post.
    const event = this.#isClustered ? 'wait' : 'post';
    this.#context.report({ event, session: mailbox.id, outcome: 'delivered' });
  }

  #empty(mailbox: Mailbox<S>): void {
    this.share.resize(mailbox, 0);
    mailbox.state = { name: 'used' };
  }

  #remove(mailbox: Mailbox<S>): void {
    this.#mailboxes.delete(this.#keyOf(mailbox));
    this.#deadlines.delete(mailbox);
    this.share.remove(mailbox);
  }

  /** Removes a mailbox whose place is given to another client. */
  #evict(mailbox: Mailbox<S>) {
    const { id, name, state } = mailbox;
    if (state.name === 'awaited') return this.#context.refuse(state.client, 'capacity');
    const body = state.name === 'full' ? state.body : undefined;
    const sender = this.#posting.get(id);
    this.#posting.delete(id);
    this.#remove(mailbox);
    if (this.#isClustered) this.#context.ask({ type: 'withdraw', session: id, box: name, body });
    if (sender !== undefined) this.#context.refuse(sender, 'capacity');
    else if (body !== undefined) this.#context.report({ event: 'post', session: id, outcome: 'gave_way' });
  }

  #keyOf({ id, name }: Mailbox<S>): string {
    return this.#isClustered ? id : name;
  }
}
