import type { Http2ServerResponse, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import { mayBeCovered } from '../../../core/answers/answer';
import type { HeaderLines } from '../../../core/wire/view';
import { isHttp2Response, type NodeResponse } from '../request';

/** Headers to set, or to remove where undefined, by lower-case name. */
export type HeadChanges = Readonly<Record<string, string | undefined>>;

/** The head of an answer as it will be sent. For all other code it looks as if it had been sent: it can no longer be changed. */
export interface HeldHead {
  readonly status: number;
  /** The lines that a proof covers or consists of, by lower-case name. */
  readonly headers: HeaderLines;
  /** Sends the head: with the next bytes over HTTP/1, immediately over HTTP/2. Call it once. */
  readonly release: (changes: HeadChanges) => void;
}

/**
 * Lets Node make the head of an answer, and holds it back.
 *
 * @param makeHead calls `writeHead()` of the response, and so also what others have hooked into that method
 * @returns null if Node has not made the head itself, as in an imitation of a response
 */
export function holdHead(response: NodeResponse, makeHead: () => void): HeldHead | null {
  if (isHttp2Response(response))
    return holdHttp2((response as Http2ServerResponse).stream as Http2Stream, makeHead);
  const http1 = response as unknown as Http1Response;
  const hold = holdBun(http1);
  makeHead();
  return hold === null ? holdHttp1(http1) : hold();
}

/** Node keeps the head as text, and sends it with the first bytes. No public property has that text. */
interface Http1Response {
  statusCode: number;
  _header?: unknown;
  readonly socket?: unknown;
  /** Set by `app.inject()` of Fastify, which copies the headers when the head is made. */
  readonly _lightMyRequest?: { readonly headers: Record<string, unknown> | null };
  getHeaders(): OutgoingHttpHeaders;
  setHeader(name: string, value: string): void;
  removeHeader(name: string): void;
}

function holdHttp1(response: Http1Response): HeldHead | null {
  const text = response._header;
  if (typeof text !== 'string' || !text.startsWith('HTTP/1.')) return null;
  const headers = linesOfText(text);
  return {
    status: response.statusCode,
    headers,
    release(changes) {
      let added = '';
      let isReplaced = false;
      for (const name in changes) {
        isReplaced ||= headers[name] !== undefined;
        if (changes[name] !== undefined) added += `${name}: ${changes[name]}\r\n`;
      }
      if (!(response.socket instanceof Socket)) changeHeaders(response, changes);
      const kept = isReplaced ? without(text, changes) : text;
      response._header = `${kept.slice(0, -2)}${added}\r\n`;
    },
  };
}

let headerState: symbol | undefined;

/**
 * Bun keeps the headers, and not a text, until it sends the first bytes. A property under a symbol says that they can no longer be
 * changed; no public one does.
 *
 * @returns null on other runtimes; else what holds the head, once it is made
 */
function holdBun(response: Http1Response): (() => HeldHead | null) | null {
  if (!('Bun' in globalThis)) return null;
  headerState ??= Object.getOwnPropertySymbols(response).find(
    ({ description }) => description === 'headerState',
  );
  const symbol = headerState;
  if (symbol === undefined || !(symbol in response)) return null;
  const states = response as unknown as Record<symbol, unknown>;
  const changeable = states[symbol];
  return () => {
    const made = states[symbol];
    if (made === changeable) return null;
    return {
      status: response.statusCode,
      headers: linesOf(response.getHeaders()),
      release(changes) {
        states[symbol] = changeable;
        for (const [name, value] of Object.entries(changes)) {
          if (value === undefined) response.removeHeader(name);
          else response.setHeader(name, value);
        }
        states[symbol] = made;
      },
    };
  };
}

/** Those lines of a head that a proof covers or consists of. Node has made the head: lines `Name: value`, and an empty one. */
function linesOfText(text: string): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  let start = text.indexOf('\r\n') + 2;
  for (let end = text.indexOf('\r\n', start); end > start; end = text.indexOf('\r\n', start)) {
    const colon = text.indexOf(':', start);
    const name = text.slice(start, colon).toLowerCase();
    start = end + 2;
    if (!isOfProof(name)) continue;
    const value = text.slice(colon + 1, end).trim();
    const earlier = headers[name];
    if (earlier === undefined) headers[name] = [value];
    else earlier.push(value);
  }
  return headers;
}

/** Whether a proof covers a field, or consists of it. */
function isOfProof(name: string): boolean {
  return mayBeCovered(name) || name === 'signature' || name === 'signature-input';
}

function without(text: string, changes: HeadChanges): string {
  const [first = '', ...lines] = text.split('\r\n');
  const kept = lines.filter((line) => line === '' || !Object.hasOwn(changes, nameOf(line)));
  return [first, ...kept].join('\r\n');
}

/** Imitations of a connection, such as the one of serverless-http, take the headers from the response, and not from its head. */
function changeHeaders(response: Http1Response, changes: HeadChanges): void {
  response._header = null;
  const copied = response._lightMyRequest?.headers ?? {};
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) {
      response.removeHeader(name);
      delete copied[name];
    } else {
      response.setHeader(name, value);
      copied[name] = value;
    }
  }
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf(':')).toLowerCase();
}

type Http2Stream = ServerHttp2Stream & { headersSent: boolean };

function holdHttp2(stream: Http2Stream, makeHead: () => void): HeldHead | null {
  let made: { headers: OutgoingHttpHeaders; options: object | undefined } | undefined;
  stream.respond = (headers = {}, options) => {
    made = { headers: headers as OutgoingHttpHeaders, options };
    Object.defineProperty(stream, 'headersSent', { configurable: true, get: () => true });
  };
  try {
    makeHead();
  } finally {
    delete (stream as Partial<Http2Stream>).respond; // the method of the prototype is back
  }
  if (made === undefined) return null; // the stream is closed
  const { headers, options } = made;
  return {
    status: Number(headers[':status']),
    headers: linesOf(headers),
    release(changes) {
      delete (stream as Partial<Http2Stream>).headersSent;
      for (const [name, value] of Object.entries(changes)) {
        if (value === undefined) delete headers[name];
        else headers[name] = value;
      }
      if (!stream.destroyed && !stream.closed) stream.respond(headers, options);
    },
  };
}

function linesOf(headers: OutgoingHttpHeaders): HeaderLines {
  const lines: Record<string, string[]> = Object.create(null);
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !name.startsWith(':')) lines[name.toLowerCase()] = [value].flat().map(String);
  }
  return lines;
}
