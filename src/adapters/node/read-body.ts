import { AmeshError } from '../../core/errors';
import { isHttp2, type NodeRequest } from './request';

/**
 * Reads a request's body to its end and puts the bytes back on its own stream, so that any parser after this finds
 * them there.
 *
 * The bytes go back in the same tick in which the last of them is taken: only then has the stream not ended yet.
 *
 * @throws AmeshError `payload_too_large` beyond the limit, `body_incomplete` where the client goes away
 */
export function readAndPutBack(request: NodeRequest, limitBytes: number): Promise<Uint8Array> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > limitBytes) return Promise.reject(tooLarge(limitBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let finished = false;
    const hasArrived = arrivalOf(request);

    function finish(settle: () => void): void {
      finished = true;
      request.off('readable', onReadable);
      request.off('error', onGone);
      request.off('close', onGone);
      settle();
    }
    function onGone(): void {
      finish(() => reject(new AmeshError('body_incomplete')));
    }
    function onReadable(): void {
      // An empty stream must not be read: that would end it, and a parser after this would wait for ever.
      while (request.readableLength > 0) {
        const chunk: Buffer | null = request.read();
        if (chunk === null) break;
        chunks.push(chunk);
        length += chunk.length;
        if (length > limitBytes) {
          finish(() => reject(tooLarge(limitBytes)));
          return;
        }
      }
      if (!hasArrived()) return;
      const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (length > 0) request.unshift(bytes);
      finish(() => resolve(bytes));
    }

    function start(): void {
      if (finished) return;
      if (isGone(request)) {
        onGone();
        return;
      }
      onReadable();
      if (!finished) request.on('readable', onReadable);
    }
    request.on('error', onGone);
    request.on('close', onGone);
    // When the parser is done with the packet at hand. A listener makes the stream read in the next tick, and were the
    // end of an empty body to come in between, that reading would end it.
    process.nextTick(start);
  });
}

/** Tells whether the last byte is here. Requests of HTTP/2 never set `complete`; their stream has ended instead. */
function arrivalOf(request: NodeRequest): () => boolean {
  if (isHttp2(request)) return () => request.stream.readableEnded && !isGone(request);
  if (typeof request.complete === 'boolean') return () => request.complete;
  // Came over no socket, as with inject() of Fastify: its end is told to its own push() alone.
  let ended = false;
  const push = request.push;
  request.push = (chunk, encoding) => {
    ended ||= chunk === null;
    return push.call(request, chunk, encoding);
  };
  return () => ended;
}

/** Whether the client has gone. The streams of HTTP/2 end then as if all had come. */
function isGone(request: NodeRequest): boolean {
  return isHttp2(request) ? request.stream.aborted || request.stream.destroyed : request.destroyed;
}

function tooLarge(limitBytes: number): AmeshError {
  return new AmeshError('payload_too_large', `The body is larger than ${limitBytes} bytes.`);
}
