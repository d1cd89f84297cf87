import type { Http2ServerResponse, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { Socket } from 'node:net';
import type { HeaderLines } from '../../core/wire/view';
import { isHttp2Response, type NodeResponse } from './request';

/** Headers to set, or to remove where undefined, by lower-case name. */
export type HeadChanges = Readonly<Record<string, string | undefined>>;

/** The head of an answer as it will be sent. To everybody else it has been sent: it can no longer be changed. */
export interface HeldHead {
  readonly status: number;
  /** All lines by lower-case name. */
  readonly headers: HeaderLines;
  /** Lets the head go, with the next bytes over HTTP/1 and at once over HTTP/2. Call it once. */
  readonly release: (changes: HeadChanges) => void;
}

/**
 * Lets Node make the head of an answer, and holds it back.
 *
 * @param makeHead calls `writeHead()` of the response, and with it what others have hooked into it
 * @returns null if there is no head of Node's own making, such as in an imitation of a response
 */
export function holdHead(response: NodeResponse, makeHead: () => void): HeldHead | null {
  if (isHttp2Response(response))
    return holdHttp2((response as Http2ServerResponse).stream as Http2Stream, makeHead);
  makeHead();
  return holdHttp1(response as unknown as Http1Response);
}

/** Node keeps the head as text, and sends it with the first bytes. It has no public property for it. */
interface Http1Response {
  statusCode: number;
  _header?: unknown;
  readonly socket?: unknown;
  /** Of `app.inject()` of Fastify: it copies the headers when the head is made. */
  readonly _lightMyRequest?: { readonly headers: Record<string, unknown> | null };
  setHeader(name: string, value: string): void;
  removeHeader(name: string): void;
}

function holdHttp1(response: Http1Response): HeldHead | null {
  const text = response._header;
  if (typeof text !== 'string' || !text.startsWith('HTTP/1.')) return null;
  const [first = '', ...lines] = text.slice(0, -4).split('\r\n');
  const headers: Record<string, string[]> = Object.create(null);
  for (const line of lines) {
    const name = nameOf(line);
    const value = line.slice(name.length + 1).trim();
    const earlier = headers[name];
    if (earlier === undefined) headers[name] = [value];
    else earlier.push(value);
  }
  return {
    status: response.statusCode,
    headers,
    release(changes) {
      const kept = lines.filter((line) => !Object.hasOwn(changes, nameOf(line)));
      const added = Object.entries(changes).flatMap(([name, value]) =>
        value === undefined ? [] : [`${name}: ${value}`],
      );
      if (!(response.socket instanceof Socket)) changeHeaders(response, changes);
      response._header = [first, ...kept, ...added, '', ''].join('\r\n');
    },
  };
}

/** Imitations of a connection, such as that of serverless-http, take the headers from the response, and not from its head. */
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
    delete (stream as Partial<Http2Stream>).respond; // the prototype's is back
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
