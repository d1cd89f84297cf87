import type { LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createRelay,
  type Relay,
  type RelayFrame,
  type RelayLogEntry,
  type RelayOptions,
} from '@authmesh/relay';
import { WebSocket } from 'ws';
import { SOON } from '../support/waiting';

export interface TestRelay {
  readonly relay: Relay;
  readonly port: number;
  readonly log: readonly RelayLogEntry[];
}

/** A relay on a free loopback port. */
export async function startRelay(options: RelayOptions = {}): Promise<TestRelay> {
  const started = await startRelayAtOnce(options);
  if (options.redis !== undefined) await untilReady(started.port);
  return started;
}

/** On a busy machine a relay may listen before it has reached its Redis. */
export async function untilReady(port: number): Promise<void> {
  for (const endsAt = Date.now() + SOON; ; await sleep(50)) {
    const { status } = await fetch(`http://127.0.0.1:${port}/ready`);
    if (status === 200) return;
    if (Date.now() > endsAt) throw new Error(`The relay was not ready within ${SOON} ms.`);
  }
}

/** A relay that may not have reached its Redis yet. */
export async function startRelayAtOnce(options: RelayOptions = {}): Promise<TestRelay> {
  const log: RelayLogEntry[] = [];
  const relay = createRelay({ log: (entry) => log.push(entry), ...options });
  const { port } = await relay.listen(0, '127.0.0.1');
  return { relay, port, log };
}

/** The value of a line of /metrics, `name` or `name{labels}`; 0 where there is none. */
export async function metric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const line = text.split('\n').find((line) => line.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length));
}

export interface ClientOptions {
  /** Where it comes from; any address of 127.0.0.0/8. */
  readonly from?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Where the relay is; default 127.0.0.1. */
  readonly host?: string;
  /** A certificate: the relay is behind a proxy of this name that has it. */
  readonly tls?: { readonly ca: string; readonly name: string };
}

/** A WebSocket whose frames are waited for one by one. */
export class Client {
  readonly #frames: RelayFrame[] = [];
  readonly #waiting: ((frame: RelayFrame | null) => void)[] = [];
  /** The close code, once it is closed. */
  readonly closed: Promise<number>;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data)) as RelayFrame;
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#frames.push(frame);
      else waiting(frame);
    });
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.on('close', (code) => {
        for (const waiting of this.#waiting.splice(0)) waiting(null);
        resolve(code);
      });
    });
  }

  /** Rejects where the upgrade is refused, with its status in the message. */
  static async open(port: number, options: ClientOptions = {}): Promise<Client> {
    const { from, headers, host = '127.0.0.1', tls } = options;
    const origin = tls === undefined ? `ws://${host}` : `wss://${tls.name}`;
    const socket = new WebSocket(`${origin}:${port}/ws`, {
      perMessageDeflate: false,
      ...(tls === undefined ? {} : { ca: tls.ca, lookup: toHost(host) }),
      ...(from === undefined ? {} : { localAddress: from }),
      ...(headers === undefined ? {} : { headers }),
    });
    const client = new Client(socket);
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  send(frame: unknown): this {
    this.socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
    return this;
  }

  /** The next frame; null where the socket closes instead. */
  next(): Promise<RelayFrame | null> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.socket.readyState === WebSocket.CLOSED) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** All frames until it closes. */
  async rest(): Promise<RelayFrame[]> {
    await this.closed;
    return this.#frames.splice(0);
  }

  /** Opens a code. */
  async listen(): Promise<string> {
    const frame = await this.send({ type: 'listen', v: 1 }).next();
    if (frame?.type !== 'listening') throw new Error(`Not listening: ${JSON.stringify(frame)}`);
    return frame.code;
  }

  join(code: string): this {
    return this.send({ type: 'join', v: 1, code });
  }

  end(): Promise<number> {
    this.socket.terminate();
    return this.closed;
  }
}

/** Finds every name at one address. */
function toHost(host: string): LookupFunction {
  return (_name, options, callback) => {
    if (options.all) callback(null, [{ address: host, family: 4 }]);
    else callback(null, host, 4);
  };
}

/** Two clients that have found each other, each having been told so. */
export async function pair(port: number, options: ClientOptions = {}): Promise<[Client, Client]> {
  const listener = await Client.open(port, options);
  const joiner = await Client.open(port, options);
  joiner.join(await listener.listen());
  await Promise.all([listener.next(), joiner.next()]);
  return [listener, joiner];
}
