import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { Readable } from 'node:stream';
import { CODES, isAmeshError } from '@authmesh/sdk/core';
import { inOwnWords } from '../words/own-words';
import { ProxyFault } from './fault';
import { isHttp2, type ProxyRequest } from './lines/framing';
import { endToEnd, grouped, type Lines } from './lines/header-lines';
import type { NameFacts } from './lines/names';
import type { Gathered } from './spool';

/** A response of either version of HTTP. */
export type ProxyResponse = ServerResponse | Http2ServerResponse;

/** A response of the proxy itself. */
export interface OwnAnswer {
  readonly status: number;
  /** The code that the client sees. */
  readonly wire: string;
  /** The code in the log. */
  readonly code: string;
  readonly message: string;
}

/** Whether nobody waits for this response any more. */
export function isGone(response: ProxyResponse): boolean {
  return response.destroyed || response.writableFinished;
}

/** Releases a body once its exchange is over: it may still be sent when the response has begun. */
export function releaseAfter(response: ProxyResponse, gathered: Gathered): void {
  const release = () => void gathered.release().catch(() => {});
  if (isGone(response)) release();
  else response.once('close', release);
}

/** The response to a request that failed with an error. An unknown error is a fault of this proxy: 500. */
export function answerTo(error: unknown): OwnAnswer {
  if (error instanceof ProxyFault) {
    const { status, code, message } = error;
    return { status, wire: code, code, message };
  }
  if (isAmeshError(error)) {
    const facts = CODES[error.code];
    const status = 'status' in facts ? facts.status : 502;
    return {
      status,
      wire: 'wire' in facts ? facts.wire : error.code,
      code: error.code,
      message: inOwnWords(error.message, 'amesh proxy'),
    };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { status: 500, wire: 'internal_error', code: 'internal_error', message };
}

/**
 * Answers a request without the server behind the proxy. If the body has not arrived, the connection ends with the response.
 *
 * A response that has begun can only be broken off.
 */
export function reply(request: ProxyRequest, response: ProxyResponse, answer: OwnAnswer): void {
  try {
    if (response.headersSent || response.writableEnded) breakOff(response);
    else write(request, response, answer);
  } catch {
    breakOff(response); // Node accepts no response for a stream that was reset
  }
}

function write(request: ProxyRequest, response: ProxyResponse, { status, wire }: OwnAnswer): void {
  const body = JSON.stringify({ error: wire });
  for (const name of response.getHeaderNames()) if (!KEPT.test(name)) response.removeHeader(name);
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.setHeader('cache-control', 'no-store');
  response.setHeader('content-length', Buffer.byteLength(body));
  const isUnread = !request.complete && !isHttp2(request);
  if (!isUnread) {
    (response as ServerResponse).end(body);
    return;
  }
  response.setHeader('connection', 'close');
  // A client that is still sending can read the response before the connection is reset.
  (response as ServerResponse).write(body);
  lingerOn(request, () => response.end());
}

/** Headers that `verify()` has set, and that are right for any response. */
const KEPT = /^(?:authmesh-.*|cache-control|vary)$/i;

const LINGER_MS = 1000;
const LINGER_BYTES = 16_777_216;

function lingerOn(request: ProxyRequest, done: () => void): void {
  let bytes = 0;
  const finish = () => {
    clearTimeout(timer);
    request.off('data', count).off('end', finish).off('close', finish);
    done();
  };
  const count = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES) finish();
  };
  const timer = setTimeout(finish, LINGER_MS);
  request
    .on('data', count)
    .on('end', finish)
    .on('close', finish)
    .on('error', () => {});
  request.resume();
}

/**
 * Ends an exchange whose response came before the end of its request. Bytes that nobody reads would keep the connection open, and
 * nobody would notice when it ends.
 */
export function closeUnread(request: ProxyRequest, response: ProxyResponse): void {
  if (request.complete) return;
  response.once('finish', () => {
    if (request.complete) return;
    lingerOn(request, () => {
      if (request.complete) return;
      if (isHttp2(request)) request.stream.close();
      else request.destroy();
    });
  });
}

/** Breaks a response off, so that the client sees that it is not complete. */
export function breakOff(response: ProxyResponse): void {
  const { stream } = response as Partial<Http2ServerResponse>;
  if (stream !== undefined && stream !== null && 'close' in stream) stream.close(NGHTTP2_INTERNAL_ERROR);
  else response.destroy();
}

const NGHTTP2_INTERNAL_ERROR = 2;

/** The head of a response as it is passed on. */
export interface AnswerHead {
  readonly status: number;
  readonly lines: Lines;
}

/** The head of a server's response, without the headers of its connection, and without those that only amesh may set. */
export function headOf(
  answer: IncomingMessage,
  drops: (facts: NameFacts) => boolean = ({ isOfProxy }) => isOfProxy,
): AnswerHead {
  return { status: answer.statusCode ?? 502, lines: endToEnd(answer.rawHeaders, drops) };
}

/** The types of bodies whose end nobody waits for. */
const ENDLESS =
  /^(?:text\/event-stream|application\/(?:x-ndjson|stream\+json|grpc)|multipart\/x-mixed-replace)/i;

/** How a response is passed on. */
export interface Relaying {
  readonly head: AnswerHead;
  readonly body: Readable;
  /**
   * The most bytes of a body of unknown length to hold until its end, so that the body is written in one piece; 0: none. Only a
   * body that is held can be signed.
   */
  readonly holdsBytes: number;
}

/** Writes a server's response. If its body breaks off, so does the response. */
export function relay(response: ProxyResponse, { head, body, holdsBytes }: Relaying): void {
  if (response.headersSent || response.destroyed) {
    body.destroy();
    return;
  }
  response.statusCode = head.status;
  const groups = grouped(head.lines);
  for (const [name, [sent, value]] of groups) {
    if (name === 'vary') addVary(response, value);
    else response.setHeader(sent, value);
  }
  const length = groups.get('content-length')?.[1];
  const hasLength = length !== undefined;
  const isEndless = ENDLESS.test(String(groups.get('content-type')?.[1] ?? ''));
  if (!hasLength && holdsBytes > 0 && !isEndless) {
    hold(response, body, holdsBytes);
    return;
  }
  if (!hasLength) (response as ServerResponse).flushHeaders(); // events may follow much later
  pass(body, response, Number(length));
}

/**
 * Like `pipeline()`, but cheaper for many short responses.
 *
 * @param lengthBytes the announced length; undefined if none was announced
 */
function pass(body: Readable, response: ProxyResponse, lengthBytes?: number): void {
  const target = response as ServerResponse; // both kinds have these methods
  const resume = () => void body.resume();
  let isEnded = false;
  body.on('data', (chunk: Buffer) => {
    if (chunk.length === lengthBytes) {
      isEnded = true; // most responses arrive in one piece, and are sent in one
      target.end(chunk);
    } else if (!target.write(chunk)) {
      body.pause();
      target.once('drain', resume);
    }
  });
  body.on('end', () => {
    if (!isEnded) target.end();
  });
  body.on('error', () => breakOff(response));
  body.on('close', () => {
    if (!isEnded && !body.readableEnded) breakOff(response);
  });
  response.once('close', () => {
    // Destroying a complete body would close its connection.
    if (!isEnded && !body.readableEnded) body.destroy();
  });
  body.resume();
}

/** Adds to `Vary`: `verify()` has set it for the signature, and the server may set it for other headers. */
function addVary(response: ProxyResponse, value: string | string[]): void {
  const before = response.getHeader('vary');
  const names = [before ?? [], value]
    .flat()
    .map(String)
    .filter((name) => name !== '');
  response.setHeader('vary', names.join(', '));
}

/** Writes a body of unknown length in one piece, if it is not too long. */
function hold(response: ProxyResponse, body: Readable, holdsBytes: number): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const take = (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes <= holdsBytes) return;
    stop();
    (response as ServerResponse).write(Buffer.concat(chunks));
    pass(body, response);
  };
  const end = () => {
    stop();
    (response as ServerResponse).end(Buffer.concat(chunks));
  };
  const fail = () => {
    stop();
    breakOff(response);
  };
  const stop = () => body.off('data', take).off('end', end).off('error', fail).off('close', fail).pause();
  body.on('data', take).on('end', end).on('error', fail).on('close', fail);
}
