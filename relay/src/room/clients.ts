import { AddressCount } from '../limits/address-count';
import { Deadlines } from '../limits/deadlines';
import { FairShare } from '../limits/fair-share';
import { ADDRESS_RETRY_SECONDS } from './admission';
import type { RoomContext } from './context';
import type { Client } from './states';

/** The clients that are connected to this instance. */
export class Clients<S> {
  readonly #context: RoomContext<S>;
  readonly #bySocket = new Map<S, Client<S>>();
  readonly #perAddress = new AddressCount();
  /** Clients that have not sent a frame yet. */
  readonly #silent: Deadlines<Client<S>>;
  /** The places of admitted clients. A refused client has none. */
  readonly share: FairShare<Client<S>>;

  constructor(context: RoomContext<S>) {
    this.#context = context;
    this.#silent = new Deadlines(context.limits.firstMessageMs);
    this.share = new FairShare({
      places: context.limits.sockets,
      evict: (client) => context.refuse(client, 'capacity'),
      rankOf: ({ state }) => (state.name === 'closed' ? 0 : state.name === 'paired' ? 2 : 1),
    });
  }

  get size(): number {
    return this.#bySocket.size;
  }

  get addresses(): number {
    return this.#perAddress.size;
  }

  get deadlines(): number {
    return this.#silent.size;
  }

  get(socket: S): Client<S> | undefined {
    return this.#bySocket.get(socket);
  }

  all(): Iterable<Client<S>> {
    return this.#bySocket.values();
  }

  /** Adds a client, or refuses it if there is no place. */
  connect(socket: S, address: string) {
    const client: Client<S> = { socket, address, state: { name: 'new' } };
    const hasTooMany = this.#perAddress.of(address) >= this.#context.limits.socketsPerAddress;
    this.#bySocket.set(socket, client);
    this.#perAddress.add(address);
    if (hasTooMany) return this.#context.refuse(client, 'rate_limited', ADDRESS_RETRY_SECONDS);
    const full = this.share.makeSpace(address);
    if (full !== undefined) return this.#context.refuse(client, full);
    this.share.add(client, address);
    this.#silent.add(client, this.#context.nowMs);
  }

  /** Called when a client has sent its first frame, or left without one. */
  endSilence(client: Client<S>): void {
    this.#silent.delete(client);
  }

  remove(client: Client<S>): void {
    this.#bySocket.delete(client.socket);
    this.share.remove(client);
    this.#perAddress.remove(client.address);
  }

  sweep(): void {
    for (const client of this.#silent.take(this.#context.nowMs)) {
      this.#context.refuse(client, 'session_expired');
    }
  }
}
