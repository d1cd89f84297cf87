import { BODY_CODES, SERVER_CODES } from '../../core/errors/codes';
import { stateOfSource } from '../../core/verify/state';
import type { BodyGate } from '../../core/wire/body-gate';
import type { HeaderLines } from '../../core/wire/view';
import { breakOff } from './break-off';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';
import { isAtEnd, isFromParser, isGone, lengthFault, takeBuffered, trailersFault } from './transport';

type Chunk = Uint8Array | string | null;

const EMPTY = new Uint8Array();

export const READ_AHEAD = 'Something before verify() has started to read the body.';

/** Whether a gate in a request's own stream still withholds the end; undefined without such a gate. */
export function isHeldBack(request: NodeRequest): boolean | undefined {
  return stateOfSource(request).isHeldBack;
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
  // Since the view was made, while the nonce store worked, somebody has read bytes of the body. The gate would not see them.
  if (request.readableDidRead) throw gate.fail(SERVER_CODES.body_parser_ordering_error, READ_AHEAD);
  if (isGone(request)) throw gate.fail(BODY_CODES.body_incomplete);
  const early = takeBuffered(request);
  const counted = countLength(request, gate, headers);
  if (!isAtEnd(request)) {
    gateStream(request, response, gate, counted, early);
    return null;
  }
  // Put the bytes back in this tick: after it, the stream has ended.
  const bytes = Buffer.concat(early);
  if (bytes.length > 0) request.unshift(bytes);
  for (const chunk of early) counted.write(chunk);
  await counted.end();
  stateOfSource(request).body = bytes; // another verifier would take the stream for one that somebody has read
  return null;
}

/** The gate, which also checks the length and the trailers when the body ends. */
function countLength(
  request: NodeRequest,
  gate: BodyGate,
  headers: HeaderLines,
): Pick<BodyGate, 'write' | 'end'> {
  let lengthBytes = 0;
  return {
    write: (chunk) => {
      lengthBytes += chunk.length;
      return gate.write(chunk);
    },
    end: () => {
      const fault = lengthFault(request, headers, lengthBytes) ?? trailersFault(request);
      if (fault !== undefined) throw gate.fail(fault.facts, fault.detail);
      return gate.end();
    },
  };
}

/** @param early the chunks that have arrived already */
function gateStream(
  request: NodeRequest,
  response: NodeResponse | undefined,
  gate: BodyGate,
  { write, end }: Pick<BodyGate, 'write' | 'end'>,
  early: readonly Buffer[],
): void {
  const pass = passTo(request);
  const open = early.map(write);
  const state = stateOfSource(request);
  state.isHeldBack = true;
  for (const chunk of open) pass(chunk);

  let isOver = false;
  const stop = (error: Error) => {
    isOver = true;
    breakOff(request, response, error);
  };
  const finish = async () => {
    isOver = true;
    if (response?.writableEnded) gate.abandon(); // the response was sent without the body, so this is not a fault
    const last = await end();
    state.isHeldBack = false;
    pass(last);
    pass(null);
  };

  /** At once: where nobody reads a request that has not ended, Node reads its closed HTTP/2 stream next, and crashes the process. */
  const leave = () => {
    if (isOver && request.readableFlowing === null) request.destroy();
    if (isOver) return true;
    if (response?.writableEnded) gate.abandon();
    stop(gate.fail(BODY_CODES.body_incomplete));
    return false;
  };

  request.push = (chunk: Chunk, encoding?: BufferEncoding) => {
    if (chunk === null && isGone(request)) return leave();
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
  response?.once('finish', () => discardUnread(request));
  request.once('close', () => {
    if (isOver) return;
    isOver = true;
    if (response?.writableEnded) gate.abandon();
    gate.fail(BODY_CODES.body_incomplete);
  });
}

/**
 * Node discards what a handler leaves unread, unless somebody has started to read, as a gate does. A stream of HTTP/2 is closed by
 * then, and must not be read any more.
 */
function discardUnread(request: NodeRequest): void {
  if (request.readableFlowing === null && !isHttp2(request)) request.resume();
}

/** Pushes what a gate has released to the readers of a request: nothing yet, a chunk, or the end. */
function passTo(request: NodeRequest): (chunk: Uint8Array | undefined | null) => boolean {
  const { push } = request;
  const isPushed = isFromParser(request);
  return (chunk) => {
    if (chunk !== undefined) return push.call(request, chunk);
    if (isPushed) return true;
    // A connection pushes what it has. Another source must be asked again after a held-back chunk.
    push.call(request, EMPTY);
    process.nextTick(() => request.read(0));
    return true;
  };
}
