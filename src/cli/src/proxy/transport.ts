import type { IncomingMessage } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { ProxyFault } from './fault';
import { framingLines } from './lines/framing';
import { eachLine, endToEnd, type Lines } from './lines/header-lines';
import type { Answered, Server } from './server';

/** The name of the option of `fetch` through which a {@link Call} reaches the transport. */
export const CALL = 'ameshProxyCall';

/** The parts of a client's request that `fetch` cannot take. The transport adds the result. */
export interface Call {
  /** Its header lines, which are passed on as they are, except for those that signing has set. */
  readonly lines: Lines;
  /** Its headers, as they were passed to `fetch`. */
  readonly headers: Headers;
  /** The length of its body in bytes, if that is a stream. */
  readonly lengthBytes?: number | undefined;
  /** Whether it asks for a WebSocket. */
  readonly isUpgrade?: boolean | undefined;
  /** Whether this only checks that the target is in the list, and sends nothing. */
  readonly isProbe?: boolean | undefined;
  /** Called each time that a request is sent, with a function that ends it; returns whether its client has left already. */
  readonly onSent?: ((destroy: () => void) => boolean) | undefined;
  /** The last response. */
  answer?: Answered;
  /** Whether the body of the answer was decoded, because its proof could not be checked otherwise. */
  isDecoded?: boolean;
  /** Whether the response that `fetch` got has no body, because nothing there reads it: the body is passed on as it arrives. */
  isUntouched?: boolean;
}

/** A probe throws this instead of returning a response: the target is listed. */
export class Probed extends Error {}

/**
 * A `fetch` that sends requests to one server, and refuses all others. Unlike the global one, it sends header lines as they are,
 * and returns a body as it arrives.
 */
export function createTransport(server: Server): typeof globalThis.fetch {
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (url.origin !== server.place.url.origin)
      throw new ProxyFault(421, 'wrong_host', `Nothing is sent to ${url.origin}.`);
    const headers = new Headers(init.headers);
    // amesh.fetch names the target only if this machine knows it.
    if (!headers.has('authmesh-target'))
      throw new ProxyFault(502, 'unknown_target', `This machine does not know whose ${url.host} is.`);
    const call = (init as { readonly [CALL]?: Call })[CALL];
    if (call?.isProbe) throw new Probed();
    const isProving = headers.get('accept-signature')?.includes('tag="amesh-answer"') ?? false;
    if (isProving) headers.set('accept-encoding', 'identity'); // the proof is of the content before any coding
    const method = init.method ?? 'GET';
    const body = toBody(init.body);
    const answer = await server.send({
      method,
      target: url.pathname + url.search,
      lines: ['Host', url.host, ...linesOf(headers, call), ...upgradeOrFraming(method, body, call)],
      body: body.bytes?.length === 0 ? undefined : (body.stream ?? body.bytes),
      onSent: (destroy) => {
        if (call?.onSent?.(destroy)) destroy();
        else if (init.signal?.aborted) destroy();
        else init.signal?.addEventListener('abort', destroy, { once: true });
      },
    });
    if (call !== undefined) call.answer = answer;
    return toResponse(answer, url, { call, isProving, isHead: method === 'HEAD' });
  };
}

interface Body {
  readonly bytes?: Uint8Array;
  readonly stream?: Readable;
}

function toBody(body: unknown): Body {
  if (body === null || body === undefined) return { bytes: new Uint8Array() };
  if (typeof body === 'string') return { bytes: Buffer.from(body) };
  if (body instanceof Uint8Array) return { bytes: body };
  return { stream: Readable.fromWeb(body as NodeStream) };
}

function upgradeOrFraming(method: string, { bytes }: Body, call: Call | undefined): string[] {
  if (call?.isUpgrade) return ['Connection', 'Upgrade', 'Upgrade', 'websocket'];
  return framingLines(method, bytes?.length ?? call?.lengthBytes);
}

/** The client's own lines, with the changes that signing has made. */
function linesOf(headers: Headers, call: Call | undefined): string[] {
  const kept: string[] = [];
  const same = new Set<string>();
  if (call !== undefined)
    eachLine(call.lines, (name, value, sent) => {
      if (headers.get(name) !== call.headers.get(name)) return;
      same.add(name);
      kept.push(sent, value);
    });
  for (const [name, value] of headers) if (!same.has(name)) kept.push(name, value);
  return kept;
}

/** After these statuses, `amesh.fetch` may send a request once more, and discards the body. */
const MAY_REFUSE: ReadonlySet<number> = new Set([401, 403, 421]);

interface Receiving {
  readonly call: Call | undefined;
  readonly isProving: boolean;
  readonly isHead: boolean;
}

/** A response for `amesh.fetch`. An upgraded connection has no response, so this looks like an empty 200. */
function toResponse(
  { response: incoming, upgraded }: Answered,
  url: URL,
  { call, isProving, isHead }: Receiving,
): Response {
  const status = incoming.statusCode ?? 502;
  const headers = new Headers();
  eachLine(
    endToEnd(incoming.rawHeaders, () => false),
    (name, value) => headers.append(name, value),
  );
  let body: ReadableStream<Uint8Array> | null = null;
  if (upgraded === undefined && !isHead && ![204, 205, 304].includes(status)) {
    const coding = codingOf(headers);
    const isDecoded = isProving && coding !== '';
    if (call !== undefined) call.isUntouched = !isProving && !MAY_REFUSE.has(status);
    if (isDecoded) {
      headers.delete('content-encoding');
      headers.delete('content-length');
      if (call !== undefined) call.isDecoded = true;
    }
    if (!call?.isUntouched) body = toStream(isDecoded ? decoded(incoming, coding) : incoming);
  } else incoming.resume();
  const response = new Response(body, { status: upgraded === undefined ? status : 200, headers });
  Object.defineProperty(response, 'url', { configurable: true, value: url.href });
  return response;
}

/** The codings of a body, in lower case; empty if it has none. A list may have empty members (RFC 9110 section 5.6.1). */
function codingOf(headers: Headers): string {
  const names = (headers.get('content-encoding') ?? '').split(',').map((name) => name.trim().toLowerCase());
  return names.filter((name) => name !== '' && name !== 'identity').join(', ');
}

function decoded(incoming: IncomingMessage, coding: string): Readable {
  const decoder =
    coding === 'gzip' || coding === 'x-gzip'
      ? createGunzip()
      : coding === 'deflate'
        ? createInflate()
        : coding === 'br'
          ? createBrotliDecompress()
          : undefined;
  if (decoder === undefined) {
    incoming.destroy();
    throw new ProxyFault(
      502,
      'answer_unproven',
      `The response has the unknown coding ${JSON.stringify(coding)}.`,
    );
  }
  // Nobody reads the stream yet, and an error without a listener would end the process. The stream keeps the error for its first
  // reader.
  decoder.on('error', () => {});
  return pipeline(incoming, decoder, () => {});
}

/** A stream that reads from the connection only as much as its reader takes. */
function toStream(source: Readable): ReadableStream<Uint8Array> {
  const chunks = source.iterator() as AsyncIterator<Buffer>;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => void source.destroy(),
    },
    { highWaterMark: 0 },
  );
}
