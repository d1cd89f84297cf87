import { Duplex } from 'node:stream';

/** One end of a connection in memory, with the members of a socket that servers and frameworks use. */
export class End extends Duplex {
  readonly remoteAddress = '127.0.0.1';
  readonly remoteFamily = 'IPv4';
  readonly #peer: () => End;
  /** Completes the write of the peer, once this end is read. */
  #written: (() => void) | undefined;

  /**
   * @param peer the other end
   * @param encrypted whether it looks like an https connection to frameworks
   */
  constructor(
    peer: () => End,
    readonly encrypted: boolean,
  ) {
    super();
    this.#peer = peer;
  }

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    const peer = this.#peer();
    if (peer.destroyed) {
      done();
      return;
    }
    peer.#written = done;
    peer.push(chunk);
  }

  override _read(): void {
    const done = this.#written;
    this.#written = undefined;
    done?.();
  }

  override _final(done: () => void): void {
    const peer = this.#peer();
    if (!peer.destroyed) peer.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const peer = this.#peer();
    this._read(); // otherwise the write of the peer would never end
    // After an orderly end, the peer may still read what was sent before.
    if (!this.writableFinished && !peer.destroyed) peer.destroy();
    done(error);
  }

  /** Like the method of a socket: sends what is left, and closes. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  // Does nothing, since a connection in memory is never idle.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  address(): object {
    return {};
  }
}

/** The two ends of a connection in memory. */
export function pipe({ encrypted }: { encrypted: boolean }): readonly [End, End] {
  const near: End = new End(() => far, encrypted);
  const far: End = new End(() => near, encrypted);
  return [near, far];
}
