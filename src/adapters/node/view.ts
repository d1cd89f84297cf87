import type { RequestView } from '../../core/view';
import { bodySource, hasBody, isUnread } from './body';
import { gateBody } from './gate-body';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';

const views = new WeakMap<NodeRequest, RequestView>();

/**
 * A Node request as a view, made once: another verifier of the same request sees the same strings and the same bytes,
 * whatever has happened to the request in between.
 *
 * @param response for a body that is streamed: while it can be answered, an error in mid-body leaves the connection up
 */
export function nodeView(request: NodeRequest, response?: NodeResponse): RequestView {
  const known = views.get(request);
  if (known !== undefined) return known;
  const headers = headerRecord(request.rawHeaders);
  const body = hasBody(request, headers) ? bodySource(request) : null;
  markHidden(headers, request);
  const view: RequestView = {
    method: request.method ?? '',
    target: request.originalUrl ?? request.url ?? '',
    authority: isHttp2(request) ? (request.authority ?? '') : (headers.host?.[0] ?? ''),
    headers,
    body,
    gateBody: body !== null && isUnread(request) ? (gate) => gateBody(request, response, gate) : undefined,
    localPort: request.socket?.localPort,
  };
  views.set(request, view);
  return view;
}

/** No line of a request holds it, so that nothing that it stands in can be signed. */
const HIDDEN = '\0';

/**
 * Spoils what one reader of the request sees and another does not. Node leaves out of `headers` whatever stands behind the
 * thousandth line (`maxHeadersCount`), but not out of `rawHeaders`, of which Hono and others make their own.
 */
function markHidden(headers: Record<string, string[]>, request: NodeRequest): void {
  for (const name in headers) if (!Object.hasOwn(request.headers, name)) headers[name]?.push(HIDDEN);
}

/** Every line by lower-case name; Node's own `headers` hides duplicates. Pseudo-headers of HTTP/2 are no headers. */
function headerRecord(raw: readonly string[]): Record<string, string[]> {
  const record: Record<string, string[]> = Object.create(null);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    if (name.startsWith(':')) continue;
    const lines = record[name];
    if (lines === undefined) record[name] = [raw[i + 1] as string];
    else lines.push(raw[i + 1] as string);
  }
  return record;
}
