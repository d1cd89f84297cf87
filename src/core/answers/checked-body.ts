import type { CryptoProvider, Sha256 } from '../crypto/provider';
import { equalBytes, joinBytes } from '../encoding';

/** What the body of an answer has to be. */
export interface ExpectedBody {
  /** SHA-256, 32 bytes. */
  readonly digest: Uint8Array;
  /** Hashes piece by piece, or the whole body if the runtime has no incremental hash. */
  readonly crypto: Pick<CryptoProvider, 'sha256' | 'createSha256'>;
  /** The most bytes to buffer if only the whole body can be hashed. */
  readonly limitBytes: number;
  /** Makes the error for a body that is not proven; `why` ends a sentence. */
  readonly unproven: (why: string) => Error;
}

export const WRONG_BODY = 'its body is not the one that was signed';

/** The body of a response as it arrives. One of both is called, and once. */
export interface ArrivingBody {
  open(): ReadableStream<Uint8Array>;
  readWhole(): Promise<ArrayBuffer>;
}

/** A body that is checked while it is read. */
export interface CheckedBody {
  /** Ends with an error unless it is the body that was signed. */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /**
   * Reads the body in one piece, past the stream, which counts as read from then on. This costs less.
   *
   * @returns null if somebody reads the stream, or has done so
   */
  readonly readWhole: () => Promise<ArrayBuffer> | null;
}

/** Has a body checked. Nothing of it is read before somebody reads it. */
export function checkedBody(arriving: ArrivingBody, expected: ExpectedBody): CheckedBody {
  const check = new BodyCheck(expected);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let isTouched = false;
  let isPassed = false;

  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        isTouched = true;
        reader ??= arriving.open().getReader();
        for (;;) {
          const { done, value } = await reader.read();
          const free = done ? await check.end() : value.length === 0 ? [] : await check.take(value);
          for (const chunk of free) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
          if (done) controller.close();
          if (done || free.length > 0) return;
        }
      },
      cancel(reason) {
        isTouched = true;
        return isPassed ? undefined : (reader ?? arriving.open()).cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );

  async function readWhole(): Promise<ArrayBuffer> {
    const body = await arriving.readWhole();
    await check.whole(new Uint8Array(body));
    return body;
  }
  return {
    stream,
    readWhole() {
      if (isTouched || stream.locked) return null;
      isPassed = true;
      void stream.cancel(); // now `bodyUsed` is true
      return readWhole();
    },
  };
}

class BodyCheck {
  readonly #expected: ExpectedBody;
  /**
   * Made for the second chunk: most bodies have only one, which is faster to hash in one call. Null if only the whole body can be
   * hashed.
   */
  #hash: Sha256 | null | undefined;
  /** The last chunk, which is hashed when it is handed out; all chunks if only the whole body can be hashed. */
  #held: Uint8Array[] = [];
  #length = 0;

  constructor(expected: ExpectedBody) {
    this.#expected = expected;
  }

  /** @returns the chunks that may be read now */
  async take(chunk: Uint8Array): Promise<Uint8Array[]> {
    const { crypto, limitBytes, unproven } = this.#expected;
    const before = this.#held;
    this.#length += chunk.length;
    if (this.#hash === undefined && (before.length > 0 || this.#length > limitBytes))
      this.#hash = crypto.createSha256();
    this.#held = this.#hash === null ? [...before, chunk] : [chunk];
    if (this.#hash === null && this.#length > limitBytes)
      throw unproven(
        `this runtime hashes only whole bodies, and its body is larger than ${limitBytes} bytes (maxBufferedBytes)`,
      );
    if (this.#hash === null) return [];
    for (const earlier of before) await this.#hash?.update(earlier);
    return before;
  }

  /** @returns the chunks that were held back */
  async end(): Promise<Uint8Array[]> {
    const [hash, held] = [this.#hash, this.#held];
    if (!hash) await this.whole(held.length > 1 ? joinBytes(held) : (held[0] ?? new Uint8Array()));
    else {
      for (const last of held) await hash.update(last);
      this.#compare(await hash.digest());
    }
    return held;
  }

  async whole(body: Uint8Array): Promise<void> {
    this.#compare(await this.#expected.crypto.sha256(body));
  }

  #compare(actual: Uint8Array): void {
    const { digest, unproven } = this.#expected;
    if (!equalBytes(actual, digest)) throw unproven(WRONG_BODY);
  }
}

/** A body that cannot be read. */
export function unreadableBody(error: () => Error): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pull = () => {
    throw error();
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}
