import { BODY_CODES, SERVER_CODES } from '../../core/errors/codes';
import type { BodyGate } from '../../core/wire/body-gate';
import type { HeaderLines } from '../../core/wire/view';
import { breakOff } from './break-off';
import type { NodeRequest, NodeResponse } from './request';
import { isAtEnd, isFromParser, isGone, lengthFault, takeBuffered, trailersFault } from './transport';

type Chunk = Uint8Array | string | null;

const EMPTY = new Uint8Array();

export const READ_AHEAD = 'Something before verify() has started to read the body.';

// Requests behind a gate, and whether it has released their end.
const gated = new WeakMap<NodeRequest, { isReleased: boolean }>();

/** Whether readers of a request read behind a gate. */
export function isGated(request: NodeRequest): boolean {
  return gated.has(request);
}

/** Whether a gate still holds back the end of a request. */
export function isHeldBack(request: NodeRequest): boolean {
  return gated.get(request)?.isReleased === false;
}

/**
 * Puts a gate into a request's own stream, so that every reader reads behind the gate: the transport passes each chunk,
 * and the end, to the request's `push()`.
 *
 * If the gate refuses the body, the stream is destroyed with its error, and never ends normally.
 *
 * @param response the response, if the caller has it; without it nobody can respond after the gate refuses
 * @throws AmeshError if the body has already arrived and is wrong, or somebody has started to read it
 */
export async function gateBody(
  request: NodeRequest,
  response: NodeResponse | undefined,
  gate: BodyGate,
  headers: HeaderLines,
): Promise<null> {
  if (isGone(request)) throw gate.fail(BODY_CODES.body_incomplete);
  // Somebody read it since the view was made, while the nonce store was asked. Handlers would see what the gate does not.
  if (request.readableDidRead) throw gate.fail(SERVER_CODES.body_parser_ordering_error, READ_AHEAD);
  const early = takeBuffered(request);
  let lengthBytes = 0;
  const write = (chunk: Uint8Array) => {
    lengthBytes += chunk.length;
    return gate.write(chunk);
  };
  const end = () => {
    const fault = lengthFault(request, headers, lengthBytes) ?? trailersFault(request);
    if (fault !== undefined) throw gate.fail(fault.facts, fault.detail);
    return gate.end();
  };
  if (isAtEnd(request)) {
    // Put the bytes back now: the stream has not ended only during this tick.
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
    // A connection pushes what it has. Another source must be asked again after a held-back chunk.
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
    if (response?.writableEnded) gate.abandon(); // the response was sent without the body, so this is no fault
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
  // Node discards what a handler leaves unread, but not if somebody started to read, as here.
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
