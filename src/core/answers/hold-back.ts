import { joinBytes } from '../encoding';
import { isCoded } from '../wire/coding';
import { nextTurn } from '../within';
import { isBun } from './proven-by';

/** A body of which everything was read that was there. */
export interface HeldBody {
  /** All bytes; null for a stream. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** What to send. */
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  /** The beginning of a stream, if something of it was there. */
  readonly first?: Uint8Array | undefined;
}

type Reader = ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;

/**
 * Reads the body of an answer if it is complete: if its length is known, or if all of it is there before the event loop turns. On
 * every runtime, that is so for a text, for bytes and for a blob. Any other body is a stream, and is not waited for.
 *
 * @param limitBytes a larger body is a stream
 * @see docs/decisions/047-complete-answers.md
 */
export async function holdBack({ body, headers }: Response, limitBytes: number): Promise<HeldBody> {
  if (body === null) return { bytes: new Uint8Array(), body };
  const length = headers.get('content-length');
  const isLarge = Number(length) > limitBytes;
  // On Bun, what is there of it may show its type.
  if (isStream(headers) || (isLarge && !isBun)) return { bytes: null, body };
  const turn = length === null || isLarge ? nextTurn() : new Promise<undefined>(() => {});
  const reader: Reader = body.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (;;) {
    const reading = reader.read();
    const read = await Promise.race([reading, turn]).catch(() => undefined);
    if (read?.done) {
      const bytes = joinBytes(chunks);
      return { bytes, body: bytes };
    }
    const chunk = read?.value;
    // Some runtimes take chunks that are not bytes. An empty one counts, so that nobody can keep this loop busy for ever.
    size += chunk?.BYTES_PER_ELEMENT === 1 ? chunk.length || 1 : limitBytes + 1;
    if (chunk === undefined || size > limitBytes)
      return { bytes: null, body: resumed(reader, chunks, reading), first: chunks[0] ?? chunk };
    chunks.push(chunk);
  }
}

/** The bytes of a coded body are not its content. Hono sets Transfer-Encoding for what it streams. */
export function isStream(headers: Headers): boolean {
  return (
    isCoded(headers.get('content-encoding')) ||
    headers.has('transfer-encoding') ||
    /^text\/event-stream/i.test(headers.get('content-type') ?? '')
  );
}

/** The whole stream again: what was read, what is being read, and the rest. */
function resumed(
  reader: Reader,
  chunks: Uint8Array<ArrayBuffer>[],
  reading: ReturnType<Reader['read']>,
): ReadableStream<Uint8Array> {
  let pending: ReturnType<Reader['read']> | undefined = reading;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = chunks.shift();
        if (chunk !== undefined) return controller.enqueue(chunk);
        const { done, value } = await (pending ?? reader.read());
        pending = undefined;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
