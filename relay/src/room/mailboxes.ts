import { Deadlines } from '../limits/deadlines';
import { Share } from '../limits/fair-share';
import type { Admission } from './admission';
import type { Hall } from './context';
import type { Post, PostAnswer, Wait, WaitAnswer } from './effects';
import type { Client } from './session';

/** A mailbox: somebody waits at it, or a message lies in it, or its one message has been there. */
export interface Box<P> {
  readonly id: string;
  readonly name: string;
  waiter: Client<P> | undefined;
  body: string | undefined;
}

/** The mailboxes of a room: one message each, for one who waits. */
export class Mailboxes<P> {
  readonly #hall: Hall<P>;
  readonly #admission: Admission<P>;
  /** Whether other instances have to be asked. Then a box stands for what this one has to do with it. */
  readonly #isShared: boolean;
  /** By name; by id where other instances have to be asked, since only they know what a name is. */
  readonly #boxes = new Map<string, Box<P>>();
  readonly #due: Deadlines<Box<P>>;
  readonly #posting = new Map<string, Client<P>>();
  /** The places that they take, and the bytes of the messages that lie in them. */
  readonly share: Share<Box<P>>;

  constructor(hall: Hall<P>, admission: Admission<P>) {
    this.#hall = hall;
    this.#admission = admission;
    this.#isShared = hall.isShared;
    this.#due = new Deadlines(hall.limits.sessionMs);
    const { mailboxes, mailboxBytes, mailboxesPerAddress, mailboxBytesPerAddress } = hall.limits;
    this.share = new Share({
      places: mailboxes,
      bytes: mailboxBytes,
      placesPerAddress: mailboxesPerAddress,
      bytesPerAddress: mailboxBytesPerAddress,
      evict: (box) => this.#evict(box),
      // First those that had their message, then those whose sender has gone, as it has as soon as it is stored.
      rankOf: ({ body, waiter }) => (waiter !== undefined ? 2 : body !== undefined ? 1 : 0),
      isIdle: ({ waiter }) => waiter === undefined,
    });
  }

  get size(): number {
    return this.#boxes.size;
  }

  get deadlines(): number {
    return this.#due.size;
  }

  /** Whether other instances have been asked to take a message, and have not answered. */
  get isPosting(): boolean {
    return this.#posting.size > 0;
  }

  wait(client: Client<P>, name: string) {
    const box = this.#isShared ? undefined : this.#boxes.get(name);
    const makeRoom = () => (box === undefined ? this.share.makeRoom(client.address) : undefined);
    if (!this.#admission.mayOpen(client, makeRoom)) return;
    if (box !== undefined && box.body === undefined) return this.#hall.refuse(client, 'code_used');
    if (box?.body !== undefined) return this.#deliver(box, client, box.body);
    const opened = this.#open(name, client, undefined);
    opened.waiter = client;
    client.state = 'waiting';
    client.box = opened;
    if (this.#isShared) this.#hall.ask({ type: 'wait', session: opened.id, box: name });
    else this.#hall.event({ event: 'wait', session: opened.id, outcome: 'waiting' });
  }

  waited({ session }: Wait, answer: WaitAnswer) {
    const box = this.#boxes.get(session);
    if (box?.waiter === undefined) return;
    if (answer === 'waiting') this.#hall.event({ event: 'wait', session, outcome: answer });
    else if (answer === 'used') this.#hall.refuse(box.waiter, 'code_used');
    else if (answer === 'unavailable') this.#hall.refuse(box.waiter, answer);
    else this.#deliver(box, box.waiter, answer.body);
  }

  post(client: Client<P>, name: string, body: string) {
    const box = this.#isShared ? undefined : this.#boxes.get(name);
    const bytes = Buffer.byteLength(body);
    const makeRoom = () => (box === undefined ? this.share.makeRoom(client.address, bytes) : undefined);
    if (!this.#admission.mayOpen(client, makeRoom)) return;
    if (box !== undefined && box.waiter === undefined) return this.#hall.refuse(client, 'code_used');
    if (box?.waiter !== undefined) {
      this.#deliver(box, box.waiter, body);
      return this.#hall.close(client);
    }
    const opened = this.#open(name, client, body);
    if (!this.#isShared) {
      this.#hall.event({ event: 'post', session: opened.id, outcome: 'stored' });
      return this.#hall.close(client);
    }
    client.state = 'posting';
    this.#posting.set(opened.id, client);
    this.#hall.ask({ type: 'post', session: opened.id, box: name, body });
  }

  posted({ session }: Post, answer: PostAnswer): void {
    const client = this.#posting.get(session);
    const box = this.#boxes.get(session);
    this.#posting.delete(session);
    // What is kept elsewhere counts here until its time is over, as does that a message has been there.
    if (box !== undefined && answer === 'delivered') this.#empty(box);
    else if (box !== undefined && answer !== 'stored') this.#remove(box);
    if (answer === 'stored' || answer === 'delivered') {
      this.#hall.event({ event: 'post', session, outcome: answer });
      if (client !== undefined) this.#hall.close(client);
    } else if (client !== undefined) {
      this.#hall.refuse(client, answer === 'used' ? 'code_used' : answer);
    }
  }

  /** A message that another instance has taken, for somebody who waits here. */
  receive(session: string, body: string): void {
    const box = this.#boxes.get(session);
    if (box?.waiter !== undefined) this.#deliver(box, box.waiter, body);
  }

  /** Whoever waits goes. */
  leave(client: Client<P>): void {
    const { box } = client;
    if (box === undefined) return;
    client.box = undefined;
    this.#remove(box);
    if (this.#isShared) this.#hall.ask({ type: 'leave', session: box.id, box: box.name });
  }

  /** The other instances cannot be asked any more, and nothing that is posted would come here. */
  cutOff(): void {
    for (const { waiter } of [...this.#boxes.values()]) {
      if (waiter !== undefined) this.#hall.refuse(waiter, 'unavailable');
    }
  }

  sweep(): void {
    for (const box of this.#due.take(this.#hall.nowMs)) {
      if (box.waiter !== undefined) this.#hall.refuse(box.waiter, 'session_expired');
      this.#remove(box);
    }
  }

  #open(name: string, { address }: Client<P>, body: string | undefined): Box<P> {
    const box: Box<P> = { id: this.#hall.randomId(), name, waiter: undefined, body };
    this.#boxes.set(this.#keyOf(box), box);
    this.share.add(box, address, body === undefined ? 0 : Buffer.byteLength(body));
    this.#due.add(box, this.#hall.nowMs);
    return box;
  }

  #deliver(box: Box<P>, waiter: Client<P>, body: string): void {
    // The box itself stays until its time is over, so that it never takes a second message.
    if (this.#isShared) this.#remove(box);
    else this.#empty(box);
    waiter.box = undefined;
    this.#hall.send(waiter, { type: 'msg', body });
    this.#hall.close(waiter);
    this.#hall.event({ event: this.#isShared ? 'wait' : 'post', session: box.id, outcome: 'delivered' });
  }

  #empty(box: Box<P>): void {
    this.share.resize(box, 0);
    box.body = undefined;
    box.waiter = undefined;
  }

  #remove(box: Box<P>): void {
    this.#empty(box);
    this.#boxes.delete(this.#keyOf(box));
    this.#due.delete(box);
    this.share.remove(box);
  }

  /** It has to give way. */
  #evict(box: Box<P>) {
    const { id, name, waiter, body } = box;
    if (waiter !== undefined) return this.#hall.refuse(waiter, 'capacity');
    const sender = this.#posting.get(id);
    this.#posting.delete(id);
    this.#remove(box);
    if (this.#isShared) this.#hall.ask({ type: 'withdraw', session: id, box: name, body });
    if (sender !== undefined) this.#hall.refuse(sender, 'capacity');
    else if (body !== undefined) this.#hall.event({ event: 'post', session: id, outcome: 'gave_way' });
  }

  #keyOf({ id, name }: Box<P>): string {
    return this.#isShared ? id : name;
  }
}
