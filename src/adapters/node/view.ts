import { DECIDING_FIELDS } from '../../core/wire/base';
import type { RequestView } from '../../core/wire/view';
import { bodySource, hasBody, isUnread } from './body';
import { gateBody } from './gate-body';
import { neededLines } from './needed-lines';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';

/** The parts of a request that handlers may see differently. */
export type HandlersView = Pick<NodeRequest, 'headers' | 'baseUrl'>;

/**
 * A view of a Node request as it is now. Middleware may have changed it since it arrived, or since an earlier verifier.
 *
 * @param response for a streamed body: as long as a response is possible, an error in the body leaves the connection open
 * @param seen the headers that handlers see, and the path that mounts removed from the URL
 */
export function nodeView(
  request: NodeRequest,
  response?: NodeResponse,
  seen: HandlersView = request,
): RequestView {
  const { method = '', originalUrl, originalMethod = method, url = '' } = request;
  const headers = neededLines(request);
  const body = hasBody(request, headers) ? bodySource(request, headers) : null;
  const authority = isHttp2(request) ? (request.authority ?? '') : (headers.host?.[0] ?? '');
  const shown = seen.headers;
  const changed = spoilChanged(headers, (name) => (Object.hasOwn(shown, name) ? shown[name] : undefined));
  return {
    method,
    target: originalUrl ?? url,
    authority,
    headers,
    body,
    gateBody:
      body !== null && isUnread(request) ? (gate) => gateBody(request, response, gate, headers) : undefined,
    localPort: request.socket?.localPort,
    source: request,
    routed: originalUrl === undefined ? undefined : routedOf(originalUrl, seen.baseUrl, url),
    conflict: originalMethod === method ? changed : 'method',
  };
}

/** A value that no header line can have, so that a signature over it never matches. */
const HIDDEN = '\0';
/** The headers that decide about a request or its signature. */
const WATCHED: readonly string[] = [
  ...DECIDING_FIELDS,
  'authorization',
  'host',
  'signature',
  'signature-input',
];

/** The value of a header, its lines, or nothing. */
type Seen = string | readonly string[] | null | undefined;

function textOf(value: Seen): string | undefined {
  if (value === undefined || value === null) return undefined;
  return Array.isArray(value) ? value.join(', ') : String(value); // some adapters put a number there
}

/**
 * Makes a header unusable if two readers of the request would see different values of it. Middleware may have changed `headers`.
 * Node also leaves lines after the thousandth (`maxHeadersCount`) out of `headers`, but keeps the next few in `rawHeaders`, from
 * which Hono and others build their own headers.
 *
 * @param seen a header as the other reader sees it, by its lower-case name
 * @returns the deciding header that was changed
 */
export function spoilChanged(
  lines: Record<string, string[]>,
  seen: (name: string) => Seen,
): string | undefined {
  let conflict: string | undefined;
  for (const name in lines) {
    const came = lines[name] as string[];
    const value = seen(name);
    if (value === came[0]) continue;
    const text = textOf(value);
    // Which headers Node joins, and how, depends on the name.
    if (text === came[0] || (came.length > 1 && (text === came.join(', ') || text === came.join('; '))))
      continue;
    if (text !== undefined && WATCHED.includes(name)) conflict = name;
    else if (came[0] !== HIDDEN) came.unshift(HIDDEN);
  }
  for (const name of WATCHED) {
    if (lines[name] !== undefined) continue;
    const value = seen(name);
    if (value === undefined || value === null || value.length === 0) continue;
    lines[name] = typeof value === 'string' ? [value] : (value as string[]);
    if (name !== 'host') conflict = name; // some add it over HTTP/2, because Express needs it
  }
  return conflict && `header ${conflict}`;
}

/**
 * The target that a router sees, if it differs from the target that was sent. Undefined if `url` is only the rest of that target
 * behind mounts of Express or Connect.
 */
function routedOf(sent: string, baseUrl: string | undefined, url: string): string | undefined {
  if (baseUrl === undefined) return isEndOf(sent, url) ? undefined : url; // Connect does not say which prefix it removed
  const full = baseUrl + url;
  if (full === sent) return undefined;
  // Express prepends a slash to the rest, and Express 4 removes one of two slashes.
  const mayDiffer = baseUrl !== '' && (ADDED_SLASH.test(url) ? baseUrl + url.slice(1) : `${baseUrl}/${url}`);
  return mayDiffer === sent ? undefined : full;
}

/** A mount turns its own path into `/` or `/?x`; Express 4 and Connect turn its path with a dot behind it into `/.x`. */
const ADDED_SLASH = /^\/(?:$|[?.])/;

/** Whether `url` may be the rest of the target `sent` behind a mount that does not say which prefix it removed. */
export function isEndOf(sent: string, url: string): boolean {
  return sent.endsWith(url) || (ADDED_SLASH.test(url) && sent.endsWith(url.slice(1)));
}
