import { AmeshError } from '../../core/errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../../core/errors/codes';
import { isGated, isHeldBack, READ_AHEAD } from './gate-body';
import type { NodeRequest } from './request';
import { isAtEnd, isGone, takeBuffered } from './transport';

/**
 * Reads a request's body to its end and puts the bytes back on its own stream, so that any parser after this finds
 * them there.
 *
 * The bytes go back in the same tick in which the last of them is taken: only then has the stream not ended yet.
 *
 * @param patienceMs how long to wait for the end; without it, as long as the connection lasts
 * @throws AmeshError `payload_too_large` beyond the limit, `body_incomplete` where the client goes away,
 *   `body_parser_ordering_error` where somebody else has begun to read
 */
export function readAndPutBack(
  request: NodeRequest,
  limitBytes: number,
  patienceMs?: number,
): Promise<Uint8Array> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > limitBytes) return Promise.reject(tooLarge(limitBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let finished = false;
    const timer = patienceMs === undefined ? undefined : setTimeout(onGone, patienceMs);

    function finish(settle: () => void): void {
      finished = true;
      clearTimeout(timer);
      request.off('readable', onReadable);
      request.off('error', onGone);
      request.off('close', onGone);
      settle();
    }
    function onGone(): void {
      finish(() => reject(new AmeshError(BODY_CODES.body_incomplete)));
    }
    function onReadable(): void {
      for (const chunk of takeBuffered(request)) {
        chunks.push(chunk);
        length += chunk.length;
      }
      if (length > limitBytes) {
        finish(() => reject(tooLarge(limitBytes)));
        return;
      }
      if (!isAtEnd(request) || isHeldBack(request)) return;
      const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (length > 0) request.unshift(bytes);
      finish(() => resolve(bytes));
    }

    function start(): void {
      if (finished) return;
      // What somebody reads before us, while a nonce store is asked, is not verified; what beside us, they get twice.
      if ((request.readableDidRead || request.listenerCount('data') > 0) && !isGated(request)) {
        finish(() => reject(new AmeshError(SERVER_CODES.body_parser_ordering_error, READ_AHEAD)));
        return;
      }
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

function tooLarge(limitBytes: number): AmeshError {
  return new AmeshError(BODY_CODES.payload_too_large, `The body is larger than ${limitBytes} bytes.`);
}
