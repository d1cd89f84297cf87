import { BODY_CODES, REQUEST_CODES, SERVER_CODES } from '../../core/errors/codes';
import type { BodyGate } from '../../core/wire/body-gate';
import type { HeaderLines } from '../../core/wire/view';
import { breakOff } from './break-off';
import type { NodeRequest, NodeResponse } from './request';
import { isAtEnd, isFromParser, isGone, lengthFault, takeBuffered, trailersFault } from './transport';

type Chunk = Uint8Array | string | null;

const EMPTY = new Uint8Array();

export const READ_AHEAD = 'Somebody before verify() has begun to read the body.';

// Requests behind a gate, and whether it has let their end through.
const gated = new WeakMap<NodeRequest, { isReleased: boolean }>();

/** Whether whoever reads a request reads behind a gate. */
export function isGated(request: NodeRequest): boolean {
  return gated.has(request);
}

/** Whether a gate still holds back the end of a request. */
export function isHeldBack(request: NodeRequest): boolean {
  return gated.get(request)?.isReleased === false;
}

/**
 * Puts a gate into a request's own stream, so that whoever reads it, by whatever means, reads behind the gate: the
 * transport hands every chunk, and the end, to the request's `push()`.
 *
 * Where the gate says no, the stream is destroyed with its error, and never ends.
 *
 * @param response of the request, if the caller has it; without it nobody can answer once the gate has said no
 * @throws AmeshError where the body has come already and is wrong, or somebody has begun to read it
 */
export async function gateBody(
  request: NodeRequest,
  response: NodeResponse | undefined,
  gate: BodyGate,
  headers: HeaderLines,
): Promise<null> {
  if (isGone(request)) throw gate.fail(BODY_CODES.body_incomplete);
  // Since the view was made, while a nonce store was asked: the gate would not see what a handler may.
  if (request.readableDidRead) throw gate.fail(SERVER_CODES.body_parser_ordering_error, READ_AHEAD);
  const early = takeBuffered(request);
  let lengthBytes = 0;
  const write = (chunk: Uint8Array) => {
    lengthBytes += chunk.length;
    return gate.write(chunk);
  };
  const end = () => {
    const fault = lengthFault(request, headers, lengthBytes);
    if (fault !== undefined) throw gate.fail(fault.facts, fault.detail);
    const trailers = trailersFault(request);
    if (trailers !== undefined) throw gate.fail(REQUEST_CODES.malformed_header, trailers);
    return gate.end();
  };
  if (isAtEnd(request)) {
    // Back at once: only in this tick has the stream not ended yet.
    if (early.length > 0) request.unshift(Buffer.concat(early));
    for (const chunk of early) write(chunk);
    await end();
    return null;
  }

  const push = request.push;
  const isPushed = isFromParser(request);
  const pass = (chunk: Uint8Array | undefined) => {
    if (chunk !== undefined) return push.call(request, chunk);
    if (isPushed) return true;
    // A connection gives what it has; another source has to be asked again after a chunk that is held back.
    push.call(request, EMPTY);
    process.nextTick(() => request.read(0));
    return true;
  };
  const open = early.map(write);
  const state = { isReleased: false };
  gated.set(request, state);
  for (const chunk of open) pass(chunk);

  let isOver = false;
  const stop = (error: Error) => {
    isOver = true;
    breakOff(request, response, error);
  };
  const finish = async () => {
    isOver = true;
    if (response?.writableEnded) gate.abandon(); // answered without it, so there is nothing to complain of
    if (isGone(request)) throw gate.fail(BODY_CODES.body_incomplete);
    const last = await end();
    state.isReleased = true;
    pass(last);
    push.call(request, null);
  };

  request.push = (chunk: Chunk, encoding?: BufferEncoding) => {
    if (isOver) return true;
    if (chunk === null) {
      finish().catch(stop);
      return false;
    }
    let open: Uint8Array | undefined;
    try {
      open = write(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
    } catch (error) {
      stop(error as Error);
      return true;
    }
    return pass(open);
  };
  // Node throws away what a handler leaves unread, but not of a request that somebody has begun to read, as here.
  response?.once('finish', () => {
    if (request.readableFlowing === null) request.resume();
  });
  request.once('close', () => {
    if (isOver) return;
    isOver = true;
    if (response?.writableEnded) gate.abandon();
    gate.fail(BODY_CODES.body_incomplete);
  });
  return null;
}
