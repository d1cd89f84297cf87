import type { Context } from 'hono';
import { shareClaims } from '../../core/check-nonce';
import { AmeshError } from '../../core/errors';
import { toFreshRequest, toStreamingRequest } from '../../core/fresh-request';
import { collect, type ReadBody, type RequestView, toRequestView } from '../../core/view';
import type { NodeRequest } from '../node/request';
import { textBytes } from '../node/text-body';
import { nodeView } from '../node/view';

const FIX = 'Put verify() before whatever reads the body.';

// By the request of Node, or the one that the application has now: another verifier of the same sees the same.
const views = new WeakMap<object, RequestView>();

/** The request of Node below a context; undefined on other runtimes. Bindings of Workers may have any name. */
export function incomingOf(c: Context): NodeRequest | undefined {
  const incoming = (c.env as { incoming?: NodeRequest } | undefined)?.incoming;
  return Array.isArray(incoming?.rawHeaders) ? incoming : undefined;
}

/**
 * A Hono request as a view. On Node line and headers are those of the transport, since a `Request` has them normalised;
 * on other runtimes the `Request` is all there is. Dot segments the server on Node takes out before it routes, and
 * what counts is where it routes to.
 */
export function honoView(c: Context): RequestView {
  const incoming = incomingOf(c);
  const key = incoming ?? c.req.raw;
  const known = views.get(key);
  // The method is the router's: middleware can have set another one, by a header that nobody has signed.
  const { method } = c.req;
  if (known?.method === method) return known;
  let sent = incoming === undefined ? toRequestView(c.req.raw) : nodeView(incoming, c.env.outgoing);
  if (DOT_SEGMENT.test(sent.target)) sent = { ...sent, target: toRequestView(c.req.raw).target };
  const transport = sent.method === method ? sent : { ...sent, method };
  const { body } = transport;
  const view = typeof body === 'function' ? { ...transport, body: bodySource(c, incoming, body) } : transport;
  views.set(key, view);
  return view;
}

/** Puts the verified bytes where handlers, and libraries that know nothing of Hono, look for them. */
export function giveFreshRequest(c: Context, view: RequestView, bytes: Uint8Array): void {
  if (typeof view.body !== 'function') return;
  const { raw } = c.req;
  if (incomingOf(c) === undefined) {
    c.req.raw = toFreshRequest(raw, bytes);
  } else if (raw.method !== 'GET' && raw.method !== 'HEAD') {
    // The request of Node's server is a light one; to copy it would build a whole one only to throw it away.
    const { method, headers, signal } = raw;
    c.req.raw = new Request(raw.url, { method, headers, signal, body: bytes as Uint8Array<ArrayBuffer> });
  }
  views.set(c.req.raw, view);
}

/** Puts the body behind its gate where handlers look for it. On Node it is the same stream as before. */
export function giveStream(c: Context, view: RequestView, stream: ReadableStream<Uint8Array>): void {
  c.req.raw = toStreamingRequest(c.req.raw, stream);
  shareClaims(view, honoView(c)); // whoever verifies it again reads, and checks, what comes through the gate
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
    'body_parser_ordering_error',
    'Somebody before verify() has read the body and kept no bytes of it.',
    { fix: FIX },
  );
}
