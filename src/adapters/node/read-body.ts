import { AmeshError } from '../../core/errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../../core/errors/codes';
import { isHeldBack, READ_AHEAD } from './gate-body';
import { isHttp2, type NodeRequest } from './request';
import { isAtEnd, isFromParser, isGone, takeBuffered } from './transport';

/** What is known of a body before it is read. */
interface Expected {
  /** The number of bytes after which Node's parser ends the body. Default: the body ends with its stream. */
  readonly framedBytes?: number | undefined;
  /** How long to wait for the end, in milliseconds; default: as long as the connection lasts. */
  readonly patienceMs?: number | undefined;
}

/**
 * Reads a request's body to its end and puts the bytes back into its stream, so that any later parser finds them there.
 *
 * The bytes go back in the tick in which the last one is read: after it, the stream has ended.
 *
 * @throws AmeshError `payload_too_large` beyond the limit, `body_incomplete` if the client disconnects,
 *   `body_parser_ordering_error` if somebody else has started to read
 */
export function readAndPutBack(
  request: NodeRequest,
  limitBytes: number,
  { framedBytes, patienceMs }: Expected = {},
): Promise<Uint8Array> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > limitBytes) return Promise.reject(tooLarge(limitBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let finished = false;
    let isListening = false;
    const timer = patienceMs === undefined ? undefined : setTimeout(onGone, patienceMs);

    function finish(settle: () => void): void {
      finished = true;
      if (timer !== undefined) clearTimeout(timer);
      if (isListening) request.off('error', onGone).off('close', onGone).off('readable', onReadable);
      settle();
    }
    function listen(): void {
      isListening = true;
      request.on('error', onGone);
      request.on('close', onGone);
    }
    function fail(error: AmeshError): void {
      finish(() => reject(error));
    }
    function onGone(): void {
      fail(new AmeshError(BODY_CODES.body_incomplete));
    }
    function onReadable(): void {
      for (const chunk of takeBuffered(request)) {
        chunks.push(chunk);
        length += chunk.length;
      }
      if (length > limitBytes) fail(tooLarge(limitBytes));
      // Usually all bytes come in one packet with the head. Then no listener is needed to learn that there are no more.
      if (finished || !(length === framedBytes || isAtEnd(request)) || isHeldBack(request)) return;
      const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (length > 0) request.unshift(bytes);
      finish(() => resolve(bytes));
    }

    function start(): void {
      if (finished) return;
      if (isReadByOthers(request)) fail(new AmeshError(SERVER_CODES.body_parser_ordering_error, READ_AHEAD));
      else if (isGone(request)) onGone();
      else onReadable();
      if (finished) return;
      if (!isListening) listen();
      request.on('readable', onReadable);
    }
    // Without a listener, an error of another stream would end the process. Node ignores one of a connection.
    if (isHttp2(request) || !isFromParser(request)) listen();
    // After the parser has finished the packet. Adding a listener schedules a read for the next tick: if the end of an empty body
    // came in between, that read would end the stream.
    process.nextTick(start);
  });
}

/**
 * Whether others read the body, too. While the nonce store worked, a reader before us got unverified bytes; a reader at the same
 * time would get them twice.
 */
function isReadByOthers(request: NodeRequest): boolean {
  const isRead = request.readableDidRead || request.listenerCount('data') > 0;
  return isRead && isHeldBack(request) === undefined;
}

function tooLarge(limitBytes: number): AmeshError {
  return new AmeshError(BODY_CODES.payload_too_large, `The body is larger than ${limitBytes} bytes.`);
}
