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
import { giveRawBody } from './raw-body';

const FIX = 'Put verify() before whatever reads the body.';

/** Node's request behind a context; undefined on other runtimes. Bindings of Workers may have any name. */
export function incomingOf(c: Context): NodeRequest | undefined {
  const incoming = (c.env as { incoming?: NodeRequest } | undefined)?.incoming;
  return Array.isArray(incoming?.rawHeaders) ? incoming : undefined;
}

/**
 * A view of a Hono request as it is now. On Node, target and headers come from the transport, since a `Request` normalises
 * them; on other runtimes there is only the `Request`.
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

/** The request as received, and what handlers see differently: middleware may have replaced the `Request`. */
function viewOfBoth(raw: Request, incoming: NodeRequest, outgoing: NodeResponse): RequestView {
  const view = nodeView(incoming, outgoing);
  const { headers } = raw;
  const changed = spoilChanged(view.headers as Record<string, string[]>, (name) => headers.get(name));
  const { url = '' } = incoming;
  const target = targetOf(raw.url);
  const isSame = target === url || target === targetOf(new URL(`http://h${url}`).href);
  return {
    ...view,
    method: raw.method,
    // The server removes dot segments before it routes, and the path that chooses the handler decides.
    target: isSame && DOT_SEGMENT.test(url) ? target : view.target,
    routed: isSame || isEndOf(url, target) ? view.routed : target, // app.mount() does not say which prefix it removed
    conflict: raw.method === incoming.method ? (view.conflict ?? changed) : 'method',
  };
}

/**
 * Puts the verified bytes where handlers and other libraries look for them. On other runtimes, that is not needed if nobody has
 * read the body yet.
 */
export async function giveBytes(c: Context, view: RequestView, bytes: Uint8Array): Promise<void> {
  if (typeof view.body !== 'function') return;
  const { raw } = c.req;
  const incoming = incomingOf(c);
  if (incoming === undefined) {
    if (!raw.bodyUsed) return;
    c.req.raw = toFreshRequest(raw, bytes);
  } else if (takesBody(raw.method) && !(await giveRawBody(raw, incoming, bytes))) {
    c.req.raw = remade(raw, bytes as Uint8Array<ArrayBuffer>);
  }
  standFor(c.req.raw, view);
}

/**
 * Puts the gated body where handlers look for it.
 *
 * @param stream null on Node, where the gate is in the original stream
 */
export function giveStream(c: Context, view: RequestView, stream: ReadableStream<Uint8Array> | null): void {
  const { raw } = c.req;
  const incoming = incomingOf(c);
  if (stream !== null) c.req.raw = toFreshRequest(raw, stream);
  // Readers of the original request would count what the gate has read ahead as a body that somebody has used.
  else if (incoming !== undefined && view.body !== null && takesBody(raw.method))
    c.req.raw = remade(raw, unreadStream(incoming));
  else return;
  shareClaim(c.req.raw, view);
}

/** A request with another body. The request of Node's server is lightweight: copying it would build a complete one, only to discard it. */
function remade(raw: Request, body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>): Request {
  const { method, headers, signal } = raw;
  return keepOthers(
    new Request(raw.url, { method, headers, signal, body, duplex: 'half' } as RequestInit),
    raw,
  );
}

/** The stream of a request, which is not touched before somebody reads: Node discards it otherwise. */
function unreadStream(incoming: NodeRequest): ReadableStream<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array> = incoming[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => void (await chunks.return?.()),
    },
    { highWaterMark: 0 },
  );
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
    // Another reader of `c.req.raw` may have just started, and its stream begins one turn later.
    await undefined;
    if (incoming.readableFlowing === null && !incoming.readableDidRead) return readTransport(limitBytes);
    return collect(raw.body as ReadableStream<Uint8Array>, limitBytes);
  };
}

function taken(): AmeshError {
  return new AmeshError(
    SERVER_CODES.body_parser_ordering_error,
    'Something before verify() read the body and kept no copy of the bytes.',
    { fix: FIX },
  );
}
