import type { Context } from 'hono';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { shareClaim, standFor } from '../../core/verify/state';
import { bunPort } from '../../core/wire/bun-port';
import { keepOthers, takesBody, toFreshRequest } from '../../core/wire/fresh-request';
import { collect, type ReadBody, type RequestView, targetOf, toRequestView } from '../../core/wire/view';
import type { NodeRequest, NodeResponse } from '../node/request';
import { textBytes } from '../node/text-body';
import { isEndOf, nodeView, spoilChanged } from '../node/view';

const FIX = 'Put verify() before whatever reads the body.';

/** The request of Node below a context; undefined on other runtimes. Bindings of Workers may have any name. */
export function incomingOf(c: Context): NodeRequest | undefined {
  const incoming = (c.env as { incoming?: NodeRequest } | undefined)?.incoming;
  return Array.isArray(incoming?.rawHeaders) ? incoming : undefined;
}

/**
 * A Hono request as a view: what it is now. On Node line and headers are those of the transport, since a `Request` has them
 * normalised; on other runtimes the `Request` is all there is.
 */
export function honoView(c: Context): RequestView {
  const incoming = incomingOf(c);
  const sent =
    incoming === undefined
      ? { ...toRequestView(c.req.raw), localPort: bunPort(c.env) }
      : viewOfBoth(c.req.raw, incoming, c.env.outgoing);
  const { body } = sent;
  return typeof body === 'function' ? { ...sent, body: bodySource(c, incoming, body) } : sent;
}

/** What came over the wire, and where that is not what handlers see: middleware can have made another `Request` of it. */
function viewOfBoth(raw: Request, incoming: NodeRequest, outgoing: NodeResponse): RequestView {
  const view = nodeView(incoming, outgoing);
  const changed = spoilChanged(view.headers as Record<string, string[]>, Object.fromEntries(raw.headers));
  const { url = '' } = incoming;
  const target = targetOf(raw.url);
  const isSame = target === url || target === targetOf(new URL(`http://h${url}`).href);
  return {
    ...view,
    method: raw.method,
    // Dot segments the server takes out before it routes, and what counts is where it routes to.
    target: isSame && DOT_SEGMENT.test(url) ? target : view.target,
    routed: isSame || isEndOf(url, target) ? view.routed : target, // app.mount() does not say what it took off
    conflict: raw.method === incoming.method ? (view.conflict ?? changed) : 'method',
  };
}

/**
 * Puts the verified bytes where handlers, and libraries that know nothing of Hono, look for them. Not on Node, and not read
 * by anybody else, the request has them still.
 */
export function giveFreshRequest(c: Context, view: RequestView, bytes: Uint8Array): void {
  if (typeof view.body !== 'function') return;
  const { raw } = c.req;
  if (incomingOf(c) === undefined) {
    if (!raw.bodyUsed) return;
    c.req.raw = toFreshRequest(raw, bytes);
  } else if (takesBody(raw.method)) {
    // The request of Node's server is a light one; to copy it would build a whole one only to throw it away.
    const { method, headers, signal } = raw;
    const init = { method, headers, signal, body: bytes as Uint8Array<ArrayBuffer> };
    c.req.raw = keepOthers(new Request(raw.url, init), raw);
  }
  standFor(c.req.raw, view);
}

/** Puts the body behind its gate where handlers look for it. On Node it is the same stream as before. */
export function giveStream(c: Context, view: RequestView, stream: ReadableStream<Uint8Array>): void {
  c.req.raw = toFreshRequest(c.req.raw, stream);
  shareClaim(c.req.raw, view);
}

const DOT_SEGMENT = /^\/([^?]*\/)?(\.|%2e){1,2}([/?]|$)/i;

function bodySource(c: Context, incoming: NodeRequest | undefined, readTransport: ReadBody): ReadBody {
  return async (limitBytes) => {
    const { bodyCache, raw } = c.req;
    if (bodyCache.arrayBuffer !== undefined) return new Uint8Array(await bodyCache.arrayBuffer);
    if (bodyCache.blob !== undefined) return new Uint8Array(await (await bodyCache.blob).arrayBuffer());
    if (bodyCache.text !== undefined) return textBytes(c.req.header(), await bodyCache.text, FIX);
    if (raw.bodyUsed || Object.keys(bodyCache).length > 0) throw taken();
    if (incoming === undefined) return readTransport(limitBytes);
    // Not before whoever has touched the body of `c.req.raw` has begun to read: its stream begins a turn later.
    await undefined;
    if (incoming.readableFlowing === null && !incoming.readableDidRead) return readTransport(limitBytes);
    return collect(raw.body as ReadableStream<Uint8Array>, limitBytes);
  };
}

function taken(): AmeshError {
  return new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'Somebody before verify() has read the body and kept no bytes of it.',
    { fix: FIX },
  );
}
