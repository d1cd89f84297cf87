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

/**
 * A body that ends with an error unless it is the one that was signed. The original is not touched before somebody reads this one.
 *
 * @param open returns the body as it arrives
 */
export function checkedBody(
  open: () => ReadableStream<Uint8Array>,
  { digest, crypto, limitBytes, unproven }: ExpectedBody,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /**
   * Made for the second chunk: most bodies have only one, which is faster to hash in one call. Null if only the whole body can be
   * hashed.
   */
  let hash: Sha256 | null | undefined;
  /** The last chunk, which is hashed when it is handed out; all chunks if only the whole body can be hashed. */
  let held: Uint8Array[] = [];
  let length = 0;

  /** @returns the chunks that may be read now */
  async function take(chunk: Uint8Array): Promise<Uint8Array[]> {
    const before = held;
    length += chunk.length;
    if (hash === undefined && (before.length > 0 || length > limitBytes)) hash = crypto.createSha256();
    held = hash === null ? [...before, chunk] : [chunk];
    if (hash === null && length > limitBytes)
      throw unproven(
        `this runtime hashes only whole bodies, and its body is larger than ${limitBytes} bytes (maxBufferedBytes)`,
      );
    if (hash === null) return [];
    for (const earlier of before) await hash?.update(earlier);
    return before;
  }

  async function end(): Promise<Uint8Array[]> {
    if (hash) for (const last of held) await hash.update(last);
    const [only = new Uint8Array()] = held;
    const actual = await (hash ? hash.digest() : crypto.sha256(held.length > 1 ? joinBytes(held) : only));
    if (!equalBytes(actual, digest)) throw unproven(WRONG_BODY);
    return held;
  }

  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        reader ??= open().getReader();
        for (;;) {
          const { done, value } = await reader.read();
          const free = done ? await end() : value.length === 0 ? [] : await take(value);
          for (const chunk of free) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
          if (done) controller.close();
          if (done || free.length > 0) return;
        }
      },
      cancel: (reason) => (reader ?? open()).cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** A body that cannot be read. */
export function unreadableBody(error: () => Error): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pull = () => {
    throw error();
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}
